import { fillLevel, takenAt, type Basin } from './water-level.ts'

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

/** Groups in one `Demand` at most. */
export const MAX_GROUPS = 64

/** One process's part of the total. */
export interface ProcessBudget {
  /** Bits per second; 0 only when the total is unlimited. */
  readonly budgetBps: number
  /** Bits per second that a viewer of weight 1 can count on, however many step up to it; undefined when the total is unlimited. */
  readonly levelBps: number | undefined
}

export interface Demands {
  readonly http: Demand
  /** Undefined while the gateway has no report, or none that is fresh. */
  readonly gateway: Demand | undefined
}

export interface Budgets {
  readonly http: ProcessBudget
  /** What it begins with while it has no report; HTTP has the whole total then. */
  readonly gateway: ProcessBudget
}

/** A report older than this says nothing any more: ten have been missed. */
export const REPORT_MAX_AGE_MS = 1000

/** A process without demand keeps this part: its next viewer begins immediately, and no budget is 0, which would mean unlimited. */
const LEAST_PART = 1 / 200

/** The demand of a report that came at `at` (monotonic ms), while it is fresh. */
export function freshDemand (report: { readonly demand: Demand, readonly at: number } | undefined, now: number): Demand | undefined {
  return report !== undefined && now - report.at <= REPORT_MAX_AGE_MS ? report.demand : undefined
}

/**
 * Splits `totalBps` (0 = unlimited) so that viewers of the same weight get the same in both processes: one water level fills all groups of both. What nobody
 * asks for is handed out too, by weight, as though one more viewer were about to come to each. The budgets of two reports sum to the total, so both processes together
 * exceed it by their buckets at most, and by what changes between them times the delay of the message, whatever begins between two reports.
 */
export function splitBudget (totalBps: number, demands: Demands): Budgets {
  if (totalBps === 0) return { http: { budgetBps: 0, levelBps: undefined }, gateway: { budgetBps: 0, levelBps: undefined } }
  const { http, gateway } = demands
  const levelBps = countOnLevel(totalBps, [...http.groups, ...gateway?.groups ?? []])
  if (gateway === undefined) return { http: { budgetBps: totalBps, levelBps }, gateway: { budgetBps: totalBps * LEAST_PART, levelBps } }
  const httpBps = httpPart(totalBps, http, gateway)
  return { http: { budgetBps: httpBps, levelBps }, gateway: { budgetBps: totalBps - httpBps, levelBps } }
}

/** What of its floor each viewer of a process gets from its budget, 0 to 1. */
export function floorScale (budgetBps: number, { groups }: Demand): number {
  return fillLevel(groups.map(asWanted), budgetBps).floorScale
}

function httpPart (totalBps: number, http: Demand, gateway: Demand): number {
  const mine = http.groups.map(asWanted)
  const others = gateway.groups.map(asWanted)
  const level = fillLevel([...mine, ...others], totalBps)
  const httpBps = takenAt(mine, level)
  const idle = Math.max(0, totalBps - httpBps - takenAt(others, level))
  const part = httpBps + idle * (http.joinedWeight + 1) / (http.joinedWeight + gateway.joinedWeight + 2)
  return Math.min(totalBps * (1 - LEAST_PART), Math.max(totalBps * LEAST_PART, part))
}

/** The level when satisfied viewers step up; where that leaves some, the level of one more viewer who wants all there is. */
function countOnLevel (totalBps: number, groups: readonly DemandGroup[]): number {
  const basins = groups.map(({ weight, floorBps, ceilingBps }) => ({ weight, floor: floorBps, limit: ceilingBps ?? Infinity }))
  const { level } = fillLevel(basins, totalBps)
  return level < Infinity ? level : fillLevel([...basins, { weight: 1, floor: 0, limit: Infinity }], totalBps).level
}

function asWanted ({ weight, floorBps, limitBps }: DemandGroup): Basin {
  return { weight, floor: floorBps, limit: limitBps ?? Infinity }
}
