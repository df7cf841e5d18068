/** Viewers of one process that are alike: the same floor and limit per weight, so that one water level serves them all. Sums over the group. */
export interface DemandGroup {
  readonly viewers: number
  readonly weight: number
  /** Bits per second guaranteed before the excess is shared. */
  readonly floorBps: number
  /** Bits per second the group takes at most; undefined: whatever it gets. */
  readonly limitBps?: number | undefined
  /** Bits per second it may soon take at most: a viewer that is satisfied now may step up a rendition. Undefined: whatever it gets. */
  readonly ceilingBps?: number | undefined
}

/** What the viewers of one process ask for; reported every 100 ms. */
export interface Demand {
  /** At most `MAX_GROUPS`; viewers that take nothing are in none. */
  readonly groups: readonly DemandGroup[]
  /** Weight of all viewers that have joined, idle ones too. */
  readonly joinedWeight: number
}

/** Groups in one `Demand` at most; what is beyond is merged with its likest neighbour. */
export const MAX_GROUPS = 64

/** One process's part of the total. */
export interface ProcessBudget {
  /** Bits per second; 0 only when the total is unlimited. */
  readonly budgetBps: number
  /** Bits per second for a viewer of weight 1; undefined when the total is unlimited. */
  readonly levelBps: number | undefined
}

export interface Demands {
  readonly http: Demand
  /** Undefined while the gateway has no report, or none that is fresh. */
  readonly gateway: Demand | undefined
}

export interface Budgets {
  readonly http: ProcessBudget
  readonly gateway: ProcessBudget
}

/** A report older than this says nothing any more: ten have been missed. */
export const REPORT_MAX_AGE_MS = 1000

/** The demand of a report that came at `at` (monotonic ms), while it is fresh. */
export function freshDemand (report: { readonly demand: Demand, readonly at: number } | undefined, now: number): Demand | undefined {
  return report !== undefined && now - report.at <= REPORT_MAX_AGE_MS ? report.demand : undefined
}

/** Splits `totalBps` (0 = unlimited) so that viewers of the same weight get the same in both processes. The budgets sum to the total. */
export function splitBudget (totalBps: number, demands: Demands): Budgets {
  const half = demands.gateway === undefined ? totalBps : totalBps / 2
  const levelBps = totalBps === 0 ? undefined : totalBps
  return { http: { budgetBps: half, levelBps }, gateway: { budgetBps: totalBps - half, levelBps } }
}
