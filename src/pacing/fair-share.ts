import { RelayError } from '../base/errors.ts'
import { gatherDemand } from './demand-meter.ts'
import { ServiceOrder } from './service-order.ts'
import type { ShareLimits } from './share-limits.ts'
import { bytesPerMs, defaultBurst, MIN_QUANTUM, ShareViewer } from './share-viewer.ts'
import type { Demand } from './split-budget.ts'
import { TokenBucket } from './token-bucket.ts'

/** A demand younger than this is not measured anew: too little has happened. */
const MIN_SAMPLE_MS = 50

/** `bytes` may be read for the request of viewer `id` that waits as `ticket`. */
export interface ShareGrant<T> {
  readonly id: string
  readonly ticket: T
  readonly bytes: number
}

export interface FairShareOptions {
  /** Bits per second; 0 = unlimited. */
  readonly totalBps: number
  /** Bytes; undefined: `defaultBurst`. */
  readonly burstBytes?: number | undefined
  readonly maxViewers: number
  /** Requests that may wait at the same time, over all viewers. */
  readonly maxWaiting: number
}

/**
 * Shares a total of bandwidth among viewers: weighted max-min, work-conserving. Token buckets say how much, for the total and for each cap, `ServiceOrder`
 * says who. Many requests of one viewer count as one viewer and are served in turn. A grant costs O(log n) in the viewers that wait. No clock: `now` is
 * monotonic milliseconds and never goes back.
 */
export class FairShare<T> {
  readonly #maxViewers: number
  readonly #maxWaiting: number
  readonly #viewers = new Map<string, ShareViewer<T>>()
  readonly #order = new ServiceOrder<T>()
  /** Undefined: unlimited. */
  #total: TokenBucket | undefined
  #burstBytes: number | undefined
  #waiting = 0
  #limitingCaps = 0
  #leftWaitedMs = 0
  #sampled: { readonly demand: Demand, readonly at: number } | undefined

  constructor (options: FairShareOptions, now: number) {
    this.#maxViewers = options.maxViewers
    this.#maxWaiting = options.maxWaiting
    this.#burstBytes = options.burstBytes
    this.setTotal(options.totalBps, now)
  }

  /** Bits per second; 0 = unlimited. */
  get totalBps (): number { return (this.#total?.rate ?? 0) * 8000 }

  /** False while neither the total nor any cap limits. */
  get limited (): boolean { return this.#total !== undefined || this.#limitingCaps > 0 }

  /** @throws RangeError for impossible limits; RelayError `RELAY_ERR_RATE_LIMITED` beyond `maxViewers` */
  join (id: string, limits: ShareLimits, now: number): void {
    if (this.#viewers.has(id)) throw new RelayError('RELAY_ERR_INTERNAL', 'this viewer shares the bandwidth already')
    if (this.#viewers.size >= this.#maxViewers) throw new RelayError('RELAY_ERR_RATE_LIMITED', `${this.#maxViewers} viewers share the bandwidth already`)
    this.#viewers.set(id, new ShareViewer<T>(id, limits, this.#burstBytes, now))
    if (limits.capBps !== undefined) this.#limitingCaps += 1
  }

  /** The tickets that waited; they get nothing any more. */
  leave (id: string, now: number): T[] {
    const viewer = this.#viewers.get(id)
    if (viewer === undefined) return []
    const tickets = [...viewer.queue.tickets()]
    this.#order.withdraw(viewer)
    this.#viewers.delete(id)
    this.#waiting -= tickets.length
    this.#limitingCaps -= viewer.cap === undefined ? 0 : 1
    this.#leftWaitedMs += viewer.meter.waitedMs(now)
    return tickets
  }

  /** @throws RangeError for impossible limits; the old ones stay then */
  update (id: string, limits: ShareLimits, now: number): void {
    const viewer = this.#viewer(id)
    const before = viewer.cap === undefined ? 0 : 1
    this.#order.withdraw(viewer)
    try {
      viewer.setLimits(limits, this.#burstBytes, now)
    } finally {
      this.#limitingCaps += (viewer.cap === undefined ? 0 : 1) - before
      this.#order.enter(viewer, now)
    }
  }

  /** Bytes granted immediately, or 0 when the request waits for `advance`. @throws RelayError `RELAY_ERR_RATE_LIMITED` beyond `maxWaiting` */
  request (id: string, ticket: T, bytes: number, now: number): number {
    if (!(Number.isSafeInteger(bytes) && bytes > 0)) throw new RangeError(`a request is for 1 byte or more, not ${bytes}`)
    if (this.#waiting >= this.#maxWaiting) throw new RelayError('RELAY_ERR_RATE_LIMITED', `${this.#maxWaiting} reads wait for bandwidth already`)
    const viewer = this.#viewer(id)
    this.#order.promote(now)
    const alone = this.#order.ready === 0
    viewer.queue.push(ticket, bytes)
    this.#waiting += 1
    if (viewer.queue.size === 1) {
      viewer.meter.waits(now)
      this.#order.enter(viewer, now)
    }
    return alone ? this.#grant(now)?.bytes ?? 0 : 0
  }

  /** Whether the ticket waited; it no longer does. */
  cancel (id: string, ticket: T, now: number): boolean {
    const viewer = this.#viewers.get(id)
    if (viewer === undefined || !viewer.queue.remove(ticket)) return false
    this.#waiting -= 1
    this.#replace(viewer, now)
    return true
  }

  /** Everything that may be read now: at most one grant for each request that waits. */
  advance (now: number): Array<ShareGrant<T>> {
    const grants: Array<ShareGrant<T>> = []
    this.#order.promote(now)
    for (let grant = this.#grant(now); grant !== undefined; grant = this.#grant(now)) grants.push(grant)
    return grants
  }

  /** When `advance` may grant next, monotonic ms; undefined while nothing waits. */
  nextAt (now: number): number | undefined {
    const viewer = this.#order.next(now)
    return viewer === undefined ? this.#order.uncapsAt : Math.max(now, this.#total?.holdsAt(this.#grantBytes(viewer)) ?? now)
  }

  /** Bytes granted and not used. */
  refund (id: string, bytes: number, now: number): void {
    this.#total?.refund(bytes)
    const viewer = this.#viewers.get(id)
    if (viewer === undefined) return
    viewer.cap?.refund(bytes)
    viewer.meter.took(-bytes)
    this.#order.withdraw(viewer)
    this.#order.refund(viewer, bytes)
    this.#order.enter(viewer, now)
  }

  /** Bits per second; 0 = unlimited. A limit that changes brings no tokens; one that is new begins with a full bucket. @throws RangeError */
  setTotal (bps: number, now: number): void {
    if (!(bps >= 0 && bps < Infinity)) throw new RangeError(`the total must be 0 bits per second or more, not ${bps}`)
    const depth = Math.max(2 * MIN_QUANTUM, this.#burstBytes ?? defaultBurst(bps))
    if (bps === 0) this.#total = undefined
    else if (this.#total === undefined) this.#total = new TokenBucket(bytesPerMs(bps), depth, now)
    else this.#total.configure(bytesPerMs(bps), depth, now)
    this.#order.setRate(this.#total?.rate ?? Infinity)
  }

  /** Undefined: `defaultBurst`. Buckets of caps take it with their next `update`. */
  setBurst (bytes: number | undefined, now: number): void {
    this.#burstBytes = bytes
    this.setTotal(this.totalBps, now)
  }

  /** What the viewers ask for; measured anew when 50 ms have passed. O(n). */
  demand (now: number): Demand {
    if (this.#sampled !== undefined && now - this.#sampled.at < MIN_SAMPLE_MS) return this.#sampled.demand
    for (const viewer of this.#viewers.values()) viewer.meter.sample(now)
    const demand = gatherDemand(this.#viewers.values())
    this.#sampled = { demand, at: now }
    return demand
  }

  /** Milliseconds the viewer has waited since it joined; 0 for an unknown one. */
  waitedMs (id: string, now: number): number {
    return this.#viewers.get(id)?.meter.waitedMs(now) ?? 0
  }

  /** Milliseconds all viewers have waited, those that have left too. O(n). */
  allWaitedMs (now: number): number {
    let ms = this.#leftWaitedMs
    for (const viewer of this.#viewers.values()) ms += viewer.meter.waitedMs(now)
    return ms
  }

  /** Of all viewers that have joined. */
  ids (): Iterable<string> { return this.#viewers.keys() }

  /** What is held, for bounds. */
  sizes (): { viewers: number, waiting: number, ready: number, due: number, capped: number } {
    return { viewers: this.#viewers.size, waiting: this.#waiting, ready: this.#order.ready, due: this.#order.due, capped: this.#order.capped }
  }

  #viewer (id: string): ShareViewer<T> {
    const viewer = this.#viewers.get(id)
    if (viewer === undefined) throw new RelayError('RELAY_ERR_INTERNAL', 'this viewer shares no bandwidth: it has left')
    return viewer
  }

  /** The next grant, when the total has the bytes for it. */
  #grant (now: number): ShareGrant<T> | undefined {
    const viewer = this.#order.next(now)
    const first = viewer?.queue.first
    if (viewer === undefined || first === undefined) return undefined
    const bytes = this.#grantBytes(viewer)
    if (this.#total !== undefined && this.#total.holdsAt(bytes) > now) return undefined
    this.#total?.spend(bytes, now)
    viewer.cap?.spend(bytes, now)
    viewer.meter.took(bytes)
    viewer.queue.remove(first.ticket)
    this.#waiting -= 1
    this.#order.charge(viewer, bytes, now)
    this.#replace(viewer, now)
    return { id: viewer.id, ticket: first.ticket, bytes }
  }

  /** Bytes the viewer's first request gets immediately. */
  #grantBytes (viewer: ShareViewer<T>): number {
    return Math.min(viewer.queue.first?.bytes ?? 0, this.#order.quantum(viewer, this.#total?.depth ?? Infinity))
  }

  /** Puts the viewer where it belongs after its queue or its buckets have changed. */
  #replace (viewer: ShareViewer<T>, now: number): void {
    this.#order.withdraw(viewer)
    this.#order.enter(viewer, now)
    if (viewer.queue.size === 0) viewer.meter.served(now)
  }
}
