import { setMaxListeners } from 'node:events'
import type { Clock, Timers } from '../base/clock.ts'
import { RelayError } from '../base/errors.ts'
import { FairShare } from './fair-share.ts'
import type { ShareLimits } from './share-limits.ts'
import { floorScale, splitBudget, type Demand } from './split-budget.ts'

export type { ShareLimits } from './share-limits.ts'

/** How old the share may be that a viewer is told, when no other process computes it. */
const LEVEL_AGE_MS = 100

/** What one viewer may take; made by `Throttle.join`. */
export interface ReadAllowance {
  /**
   * Bytes that may be read now, 1 to `wanted`; a promise while the viewer has to wait for its share.
   * @throws the signal's reason; RelayError `RELAY_ERR_STOPPING` after `close` or `leave`, `RELAY_ERR_RATE_LIMITED` when too many wait
   */
  take (wanted: number, signal: AbortSignal): number | Promise<number>
  /** Bytes taken and not sent. */
  giveBack (bytes: number): void
  /** Bits per second this viewer has, or would have when busy; undefined when nothing limits it. */
  shareBps (): number | undefined
  /** Milliseconds this viewer has waited in `take` since it joined; streams that wait at the same time count once. */
  readonly waitedMs: number
  update (limits: ShareLimits): void
  leave (): void
}

/** Since the last `takeCounts`. */
export interface Grants {
  readonly bytes: number
  /** Sum over viewers. */
  readonly waitedMs: number
}

export interface Budget {
  /** Bits per second; 0 = unlimited. */
  readonly totalBps: number
  /** Bits per second for a viewer of weight 1, over all processes; undefined: this process knows all there is to know. */
  readonly levelBps: number | undefined
  /** Undefined: as it was. */
  readonly burstBytes?: number | undefined
}

export interface ThrottleOptions {
  readonly clock: Pick<Clock, 'monotonic'>
  readonly timers: Timers
  /** Bits per second; 0 = unlimited. */
  readonly totalBps: number
  /** Undefined: 20 ms of the total, at least 64 KiB. */
  readonly burstBytes?: number | undefined
  /** Viewers that may have joined at the same time. */
  readonly maxViewers: number
  /** Takes that may wait at the same time, over all viewers. */
  readonly maxWaiting: number
}

/** A take that waits. */
interface TakeWaiter {
  settle: (outcome: number | RelayError) => void
}

/** What this process knows by itself about shares. */
interface Standing {
  readonly at: number
  /** Bits per second for weight 1; undefined: unlimited. */
  readonly levelBps: number | undefined
  readonly floorScale: number
}

/** Shares this process's part of the bandwidth among its viewers: `FairShare` with a clock, one timer and promises. */
export class Throttle {
  readonly #clock: Pick<Clock, 'monotonic'>
  readonly #timers: Timers
  readonly #share: FairShare<TakeWaiter>
  #levelBps: number | undefined
  #standing: Standing | undefined
  #wakesAt = Infinity
  #cancelWake: () => void = () => {}
  #closed = false
  /** Granted since `takeCounts`; below 0 when more came back since. */
  #bytes = 0
  #countedWaitMs = 0

  /** @throws RangeError for impossible numbers */
  constructor (options: ThrottleOptions) {
    this.#clock = options.clock
    this.#timers = options.timers
    this.#share = new FairShare(options, options.clock.monotonic())
  }

  /** False while neither total nor any cap limits: callers then skip `take` altogether. */
  get limited (): boolean { return this.#share.limited }

  /** @throws RangeError for impossible limits; RelayError `RELAY_ERR_RATE_LIMITED` when there are `maxViewers`, `RELAY_ERR_INTERNAL` when the id has joined */
  join (id: string, limits: ShareLimits): ReadAllowance {
    this.#share.join(id, limits, this.#clock.monotonic())
    let left = false
    let mine = limits
    let waited = 0
    const waitedMs = (): number => left ? waited : this.#share.waitedMs(id, this.#clock.monotonic())
    return {
      take: (wanted, signal) => {
        signal.throwIfAborted()
        if (left || this.#closed) throw stopping()
        return this.#take(id, wanted, signal)
      },
      giveBack: bytes => {
        if (!(Number.isSafeInteger(bytes) && bytes >= 0)) throw new RangeError(`bytes that come back are 0 or more, not ${bytes}`)
        if (bytes === 0) return
        this.#bytes -= bytes
        if (left || this.#closed) return
        this.#share.refund(id, bytes, this.#clock.monotonic())
        this.#serve()
      },
      shareBps: () => this.#shareBps(mine),
      get waitedMs () { return waitedMs() },
      update: limits => {
        if (left || this.#closed) return
        this.#share.update(id, limits, this.#clock.monotonic())
        mine = limits
        this.#serve()
      },
      leave: () => {
        if (left) return
        waited = waitedMs()
        left = true
        this.#leave(id)
        this.#serve()
      }
    }
  }

  /** A total of 0 lets everyone go who waits for nothing but the total. @throws RangeError for impossible numbers */
  setBudget (budget: Budget): void {
    const now = this.#clock.monotonic()
    if (budget.burstBytes !== undefined) this.#share.setBurst(budget.burstBytes, now)
    this.#share.setTotal(budget.totalBps, now)
    this.#levelBps = budget.levelBps
    this.#standing = undefined
    this.#serve()
  }

  /** What the viewers of this process ask for, for `splitBudget`; measured anew after 50 ms. */
  demand (): Demand { return this.#share.demand(this.#clock.monotonic()) }

  takeCounts (): Grants {
    const bytes = Math.max(0, this.#bytes)
    this.#bytes -= bytes
    const all = this.#share.allWaitedMs(this.#clock.monotonic())
    const waitedMs = all - this.#countedWaitMs
    this.#countedWaitMs = all
    return { bytes, waitedMs }
  }

  /** What is held, for bounds. */
  sizes (): Record<string, number> {
    return { ...this.#share.sizes(), timers: this.#wakesAt < Infinity ? 1 : 0 }
  }

  /** Refuses all takes that wait or come. */
  close (): void {
    if (this.#closed) return
    this.#closed = true
    for (const id of [...this.#share.ids()]) this.#leave(id)
    this.#arm()
  }

  #take (id: string, wanted: number, signal: AbortSignal): number | Promise<number> {
    const waiter: TakeWaiter = { settle () {} }
    const bytes = this.#share.request(id, waiter, wanted, this.#clock.monotonic())
    if (bytes > 0) {
      this.#bytes += bytes
      return bytes
    }
    this.#arm()
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#share.cancel(id, waiter, this.#clock.monotonic())
        reject(signal.reason as Error)
        this.#serve()
      }
      // Two hundred streams of one session may wait on its signal.
      setMaxListeners(0, signal)
      signal.addEventListener('abort', onAbort, { once: true })
      waiter.settle = outcome => {
        signal.removeEventListener('abort', onAbort)
        if (typeof outcome === 'number') resolve(outcome)
        else reject(outcome)
      }
    })
  }

  #leave (id: string): void {
    for (const waiter of this.#share.leave(id, this.#clock.monotonic())) waiter.settle(stopping())
  }

  /** Grants what may be read now, and waits for the rest. */
  #serve (): void {
    for (const { ticket, bytes } of this.#share.advance(this.#clock.monotonic())) {
      this.#bytes += bytes
      ticket.settle(bytes)
    }
    this.#arm()
  }

  /** Sets the one timer for when the next grant is possible. One that is set too early only looks again. */
  #arm (): void {
    const now = this.#clock.monotonic()
    const at = this.#share.nextAt(now) ?? Infinity
    if (at < Infinity && this.#wakesAt <= at) return
    this.#cancelWake()
    this.#wakesAt = at
    this.#cancelWake = at === Infinity
      ? () => {}
      : this.#timers.after(Math.max(1, Math.ceil(at - now)), () => {
        this.#wakesAt = Infinity
        this.#serve()
      })
  }

  #shareBps ({ weight, capBps, floorBps }: ShareLimits): number | undefined {
    const { levelBps, floorScale } = this.#stand()
    if (levelBps === undefined) return capBps
    return Math.min(capBps ?? Infinity, Math.max((floorBps ?? 0) * floorScale, weight * levelBps))
  }

  #stand (): Standing {
    const now = this.#clock.monotonic()
    if (this.#standing !== undefined && now - this.#standing.at < LEVEL_AGE_MS) return this.#standing
    const total = this.#share.totalBps
    const demand = this.#share.demand(now)
    const levelBps = this.#levelBps ?? splitBudget(total, { http: demand, gateway: undefined }).http.levelBps
    this.#standing = { at: now, levelBps: total === 0 ? undefined : levelBps, floorScale: floorScale(total, demand) }
    return this.#standing
  }
}

function stopping (): RelayError {
  return new RelayError('RELAY_ERR_STOPPING', 'bandwidth is no longer given to this viewer')
}
