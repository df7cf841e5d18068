import type { Timers } from '../base/clock.ts'
import { RelayError } from '../base/errors.ts'
import type { BandwidthLimits, GatewayShare } from './bandwidth-limits.ts'
import { defaultBurst } from './share-viewer.ts'
import { freshDemand, splitBudget, type Budgets, type Demand } from './split-budget.ts'
import type { Throttle } from './throttle.ts'

/** How often the split follows demand, ms; the gateway reports as often. */
export const SPLIT_MS = 100

const NOBODY: Demand = { groups: [], joinedWeight: 0 }

export interface BudgetKeeperOptions {
  readonly limits: BandwidthLimits
  /** Shares HTTP's part among the viewers of this process. */
  readonly http: Pick<Throttle, 'setBudget' | 'demand' | 'limited'>
  readonly timers: Timers
  /** What bursts are multiplied by now, in (0, 1]; followed with every split. */
  readonly burstFactor: () => number
  /** The limits of one viewer have changed. */
  readonly changed: () => void
}

/**
 * Keeps the total: splits it between HTTP and the gateway by what their viewers ask for. While the gateway is gone, or silent for long, HTTP
 * has all of it; a gateway that starts begins with the part the last one had.
 */
export class BudgetKeeper {
  readonly #options: BudgetKeeperOptions
  #limits: BandwidthLimits
  #report: { readonly demand: Demand, readonly at: number } | undefined
  #budgets: Budgets
  /** The gateway's part when it last reported, as a part of the total. */
  #gatewayPart: number | undefined
  #listener: (share: GatewayShare) => void = () => {}
  #cancel: (() => void) | undefined
  #closed = false

  constructor (options: BudgetKeeperOptions) {
    this.#options = options
    this.#limits = options.limits
    this.#budgets = splitBudget(options.limits.totalBps, { http: NOBODY, gateway: undefined })
    this.split()
  }

  get limits (): BandwidthLimits { return this.#limits }

  /** What HTTP and the gateway have now, bits per second; the gateway nothing while it is gone. 0 is unlimited. */
  get parts (): { readonly http: number, readonly gateway: number } {
    return { http: this.#budgets.http.budgetBps, gateway: this.#gone() ? 0 : this.#budgets.gateway.budgetBps }
  }

  /** For a viewer of weight 1, bits per second; undefined when the total is unlimited. */
  get levelBps (): number | undefined { return this.#budgets.http.levelBps }

  /** Viewers of both processes that wait at least half of their time, as of the latest reports. */
  backlogged (): number {
    const groups = [this.#options.http.demand(), this.#fresh() ?? NOBODY].flatMap(demand => demand.groups)
    // What a satisfied viewer may step up to is more than what it takes.
    return groups.reduce((sum, { viewers, limitBps, ceilingBps }) => sum + (limitBps === ceilingBps ? viewers : 0), 0)
  }

  /** What a gateway begins with. */
  share (): GatewayShare {
    const { totalBps, viewerCapBps, viewerFloorBps, burstBytes } = this.#limits
    const { budgetBps: part, levelBps } = this.#budgets.gateway
    // Without a report, the split knows of no gateway.
    const budgetBps = this.#gone() && this.#gatewayPart !== undefined ? totalBps * this.#gatewayPart : part
    return { budgetBps, levelBps, viewerCapBps, viewerFloorBps, burstBytes: this.#burst(burstBytes, budgetBps) }
  }

  /** Called with every new share of the gateway. */
  onShare (listener: (share: GatewayShare) => void): void {
    this.#listener = listener
  }

  /** @throws RelayError RELAY_ERR_BAD_REQUEST when the limits contradict each other; nothing has changed then */
  set (changes: Partial<BandwidthLimits>): void {
    const limits = { ...this.#limits, ...changes }
    if (limits.viewerCapBps > 0 && limits.viewerFloorBps > limits.viewerCapBps) throw new RelayError('RELAY_ERR_BAD_REQUEST', 'viewerFloorBps must be at most viewerCapBps')
    this.#limits = limits
    this.#options.changed()
    this.split()
  }

  /** What the viewers of the gateway ask for. */
  reported (demand: Demand): void {
    this.#report = { demand, at: this.#options.timers.now() }
  }

  /** The gateway has ended: what it said does not hold any more. */
  gatewayGone (): void {
    this.#report = undefined
    this.split()
  }

  /** Splits anew, and goes on doing so while something is limited. */
  split (): void {
    if (this.#closed) return
    this.#cancel?.()
    this.#cancel = undefined
    const { totalBps } = this.#limits
    const gateway = this.#fresh()
    this.#budgets = splitBudget(totalBps, { http: this.#options.http.demand(), gateway })
    if (gateway !== undefined && totalBps > 0) this.#gatewayPart = this.#budgets.gateway.budgetBps / totalBps
    this.#apply()
    this.#listener(this.share())
    if (totalBps > 0) this.#cancel = this.#options.timers.after(SPLIT_MS, () => { this.split() })
  }

  close (): void {
    this.#closed = true
    this.#cancel?.()
  }

  #apply (): void {
    const { budgetBps, levelBps } = this.#budgets.http
    this.#options.http.setBudget({ totalBps: budgetBps, levelBps, burstBytes: this.#burst(this.#limits.burstBytes, budgetBps) })
  }

  /** Smaller under overload, but never below what late timers need to keep the rate. */
  #burst (configured: number, budgetBps: number): number {
    const needed = defaultBurst(budgetBps)
    if (configured === 0) return needed
    return Math.max(Math.min(configured, needed), Math.ceil(configured * this.#options.burstFactor()))
  }

  #fresh (): Demand | undefined { return freshDemand(this.#report, this.#options.timers.now()) }
  #gone (): boolean { return this.#fresh() === undefined }
}
