import type { Timers } from '../base/clock.ts'
import { MAX_WAITING_READS, shareLimits, type BandwidthClasses, type GatewayShare } from '../pacing/bandwidth-limits.ts'
import { SPLIT_MS } from '../pacing/budget-keeper.ts'
import type { Demand } from '../pacing/split-budget.ts'
import { Throttle } from '../pacing/throttle.ts'
import { SessionPacing, SharedViewer } from './session-pacing.ts'

export interface GatewayBandwidthOptions {
  /** At its start, as the share. */
  readonly classes: BandwidthClasses
  readonly share: GatewayShare
  readonly maxSessions: number
  readonly timers: Timers
  /** What the viewers ask for, while anything is limited. */
  readonly report: (demand: Demand) => void
}

/** Enforces the gateway's part of the bandwidth. While the relay is silent, what it said last holds. */
export class GatewayBandwidth {
  readonly #options: GatewayBandwidthOptions
  readonly #throttle: Throttle
  readonly #viewers = new Map<string, SharedViewer>()
  #classes: BandwidthClasses
  #share: GatewayShare
  #cancel: (() => void) | undefined

  constructor (options: GatewayBandwidthOptions) {
    const { share, maxSessions, timers } = options
    this.#options = options
    this.#share = share
    this.#classes = options.classes
    this.#throttle = new Throttle({
      clock: { monotonic: () => timers.now() },
      timers,
      totalBps: share.budgetBps,
      burstBytes: share.burstBytes,
      maxViewers: maxSessions,
      maxWaiting: MAX_WAITING_READS
    })
    this.setShare(share)
  }

  /** Bits per second for all sessions together; 0 is unlimited. */
  get budgetBps (): number { return this.#share.budgetBps }

  setShare (share: GatewayShare): void {
    const before = this.#share
    this.#share = share
    this.#throttle.setBudget({ totalBps: share.budgetBps, levelBps: share.levelBps, burstBytes: share.burstBytes })
    if (share.viewerCapBps !== before.viewerCapBps || share.viewerFloorBps !== before.viewerFloorBps) {
      for (const viewer of this.#viewers.values()) viewer.limitsChanged()
    }
    if (this.#cancel === undefined) this.#report()
  }

  /** Other weights and another ladder, for sessions that exist too. */
  setClasses (classes: BandwidthClasses): void {
    this.#classes = classes
    for (const viewer of this.#viewers.values()) viewer.limitsChanged()
  }

  /** A session of a viewer begins; those with one id are one viewer. @throws RelayError RELAY_ERR_RATE_LIMITED beyond `maxSessions` */
  join (id: string, className?: string): SessionPacing {
    const viewer = this.#viewers.get(id) ?? new SharedViewer(id, className, { throttle: this.#throttle, limits: name => shareLimits(this.#share, this.#classes.weights, name) })
    this.#viewers.set(id, viewer)
    viewer.sessions++
    // A cap limits from the first viewer on.
    if (this.#cancel === undefined) this.#report()
    let there = true
    return new SessionPacing(viewer, () => this.#classes.ladder, () => {
      if (!there) return
      there = false
      if (--viewer.sessions > 0) return
      this.#viewers.delete(id)
      viewer.leave()
    })
  }

  sizes (): Record<string, number> {
    return Object.fromEntries(Object.entries(this.#throttle.sizes()).map(([name, size]) => [`bandwidth.${name}`, size]))
  }

  close (): void {
    this.#cancel?.()
    this.#throttle.close()
  }

  #report (): void {
    this.#cancel = undefined
    if (!this.#throttle.limited) return
    this.#options.report(this.#throttle.demand())
    this.#cancel = this.#options.timers.after(SPLIT_MS, () => { this.#report() })
  }
}
