import type { Clock, Timers } from '../clock.ts'
import { RelayError } from '../errors.ts'
import type { Demand } from './split-budget.ts'

/** Bits per second. */
export interface ShareLimits {
  /** Above 0; viewers share what is left of the total in proportion. */
  readonly weight: number
  /** Never exceeded apart from its burst. */
  readonly capBps?: number | undefined
  /** Guaranteed before the excess is shared; scaled down when all floors together exceed the total. */
  readonly floorBps?: number | undefined
}

/** What one viewer may take; made by `Throttle.join`. */
export interface Allowance {
  /**
   * Bytes that may be read now, 1 to `wanted`; a promise while the viewer has to wait for its share.
   * @throws the signal's reason; RelayError `RELAY_ERR_STOPPING` after `close` or `leave`, `RELAY_ERR_RATE_LIMITED` when too many wait
   */
  take (wanted: number, signal: AbortSignal): number | Promise<number>
  /** Bytes taken and not sent. */
  giveBack (bytes: number): void
  /** Bits per second this viewer has, or would have when busy; undefined when nothing limits it. */
  shareBps (): number | undefined
  /** Milliseconds this viewer has waited in `take` since it joined; streams that wait at once count once. */
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
  /** Viewers that may have joined at once. */
  readonly maxViewers: number
  /** Takes that may wait at once, over all viewers. */
  readonly maxWaiting: number
}

/** Shares this process's part of the bandwidth among its viewers. */
export class Throttle {
  readonly #options: ThrottleOptions
  #totalBps: number
  #closed = false

  constructor (options: ThrottleOptions) {
    this.#options = options
    this.#totalBps = options.totalBps
  }

  /** False while neither total nor any cap limits: callers then skip `take` altogether. */
  get limited (): boolean { return this.#totalBps > 0 }

  /** @throws RelayError `RELAY_ERR_RATE_LIMITED` when there are `maxViewers` */
  join (id: string, limits: ShareLimits): Allowance {
    void id
    void limits
    void this.#options
    const closed = (): boolean => this.#closed
    return {
      take (wanted, signal) {
        signal.throwIfAborted()
        if (closed()) throw new RelayError('RELAY_ERR_STOPPING', 'bandwidth is no longer given out')
        return wanted
      },
      giveBack () {},
      shareBps: () => undefined,
      waitedMs: 0,
      update () {},
      leave () {}
    }
  }

  setBudget (budget: Budget): void { this.#totalBps = budget.totalBps }
  demand (): Demand { return { groups: [], joinedWeight: 0 } }
  takeCounts (): Grants { return { bytes: 0, waitedMs: 0 } }
  sizes (): Record<string, number> { return {} }
  close (): void { this.#closed = true }
}
