import { HeapNode } from './heap.ts'
import { RequestQueue } from './request-queue.ts'
import type { ShareLimits } from './share-limits.ts'
import { TokenBucket } from './token-bucket.ts'
import { DemandMeter } from './demand-meter.ts'

/** Half a packet: a smaller read costs as much as this one, and at 200 kbit/s it is no more than 2.4 % of a second. */
export const MIN_QUANTUM = 600
/** What one read of a file brings at most; the size of a chunk on every transport. */
export const MAX_QUANTUM = 256 * 1024
/** One grant is what a viewer's share brings in this time: a fiftieth of a second, so that two grants more or less than others got are 4 % of a second. */
export const ROUND_MS = 20
/** A timer of Node may be late by this much and more; the least bucket holds it at 25 Mbit/s. */
const MIN_BURST = 64 * 1024

/** Bits per second as bytes per millisecond. */
export function bytesPerMs (bps: number): number {
  return bps / 8000
}

/** Bytes a bucket of `bps` holds when nothing else is configured: 20 ms, which is 2 % of a second, and at least 64 KiB. */
export function defaultBurst (bps: number): number {
  return Math.max(MIN_BURST, bytesPerMs(bps) * ROUND_MS)
}

/** Bytes of one grant at `rate` bytes per millisecond from a bucket of `depth`: half the bucket at most, or a late timer would lose tokens. */
export function quantumOf (rate: number, depth: number): number {
  return Math.max(1, Math.floor(Math.min(Math.max(MIN_QUANTUM, rate * ROUND_MS), MAX_QUANTUM, depth / 2)))
}

/** @throws RangeError naming the limit that cannot be */
function checkLimits (limits: ShareLimits): void {
  const { weight, capBps, floorBps } = limits
  if (!(weight > 0 && weight < Infinity)) throw new RangeError(`a viewer's weight must be above 0, not ${weight}`)
  if (capBps !== undefined && !(capBps > 0 && capBps < Infinity)) throw new RangeError(`a viewer's cap must be above 0 bits per second, not ${capBps}`)
  if (floorBps !== undefined && !(floorBps >= 0 && floorBps < Infinity)) throw new RangeError(`a viewer's floor must be 0 bits per second or more, not ${floorBps}`)
  if (capBps !== undefined && floorBps !== undefined && floorBps > capBps) throw new RangeError(`a viewer's floor of ${floorBps} bits per second exceeds its cap of ${capBps}`)
}

/** One viewer as the scheduler sees it. */
export class ShareViewer<T> {
  readonly id: string
  readonly queue = new RequestQueue<T>()
  /** Among the viewers that may be served, by tag. */
  readonly ready = new HeapNode<ShareViewer<T>>(this)
  /** Among the ready viewers with a floor, by when the floor's next bytes are due. */
  readonly due = new HeapNode<ShareViewer<T>>(this)
  /** Among the viewers whose cap makes them wait, by when it no longer does. */
  readonly capped = new HeapNode<ShareViewer<T>>(this)
  readonly meter: DemandMeter
  #limits: ShareLimits
  #cap: TokenBucket | undefined
  /** Bytes per millisecond. */
  #floor = 0
  /** Virtual time of its next grant: bytes per weight. */
  tag = 0
  /** When the bytes that its floor guarantees are due next. */
  dueAt = 0

  /** @param burst bytes the cap's bucket holds, at most 64 KiB and at least 40 ms of the cap; undefined: 64 KiB. @throws RangeError for impossible limits */
  constructor (id: string, limits: ShareLimits, burst: number | undefined, now: number) {
    this.id = id
    this.meter = new DemandMeter(now)
    this.dueAt = now
    this.#limits = limits
    this.setLimits(limits, burst, now)
  }

  get limits (): ShareLimits { return this.#limits }
  get weight (): number { return this.#limits.weight }
  get floor (): number { return this.#floor }
  get cap (): TokenBucket | undefined { return this.#cap }

  /** @throws RangeError for impossible limits; nothing has changed then */
  setLimits (limits: ShareLimits, burst: number | undefined, now: number): void {
    checkLimits(limits)
    this.#limits = limits
    this.#floor = bytesPerMs(limits.floorBps ?? 0)
    if (limits.capBps === undefined) {
      this.#cap = undefined
      return
    }
    const rate = bytesPerMs(limits.capBps)
    // One grant, and what comes while it waits for its turn.
    const depth = Math.max(2 * MIN_QUANTUM, 2 * ROUND_MS * rate, Math.min(burst ?? Infinity, MIN_BURST))
    if (this.#cap === undefined) this.#cap = new TokenBucket(rate, depth, now)
    else this.#cap.configure(rate, depth, now)
  }

  /** When the cap allows `bytes`, or as much of them as is granted in one go. */
  allowedAt (bytes: number): number {
    return this.#cap === undefined ? -Infinity : this.#cap.holdsAt(Math.min(bytes, quantumOf(this.#cap.rate, this.#cap.depth)))
  }
}
