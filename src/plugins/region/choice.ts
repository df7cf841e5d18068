/** When another region takes the place of the present one. */
export interface RegionPolicy {
  /** Share of the present region's latency that another one must save, [0, 1). */
  readonly minSaving: number
  /** Latency that another region must save as well, ms. */
  readonly marginMs: number
  /** Detections in a row that must agree, at least 1. */
  readonly rounds: number
}

/** What detections have led to so far. */
export interface RegionState {
  /** Undefined until a super-node was reached. */
  readonly region: string | undefined
  /** Regions that were clearly better than the present one in each of the latest detections, with how many those are. */
  readonly streaks: ReadonlyMap<string, number>
}

export const UNDETECTED: RegionState = { region: undefined, streaks: new Map() }

function isClearlyBetter (other: number, present: number, { minSaving, marginMs }: RegionPolicy): boolean {
  return other < present && other <= present * (1 - minSaving) && present - other >= marginMs
}

function lowest (latencies: Iterable<readonly [region: string, ms: number]>): string | undefined {
  let best: readonly [region: string, ms: number] | undefined
  for (const entry of latencies) {
    if (best === undefined || entry[1] < best[1]) best = entry
  }
  return best?.[0]
}

/**
 * The state after one more detection. The first region reached is taken immediately, and so is the lowest one when the present region is
 * out of reach; nothing in reach keeps the present region. Otherwise a region must have been clearly better in `rounds` detections
 * in a row, and the lowest of those that have been is taken. Each has a count of its own: two that take turns at being the lowest
 * do not keep each other out.
 * @param latencies of the regions in reach, ms
 */
export function observe (state: RegionState, latencies: ReadonlyMap<string, number>, policy: RegionPolicy): RegionState {
  const present = state.region === undefined ? undefined : latencies.get(state.region)
  if (present === undefined) return { region: lowest(latencies) ?? state.region, streaks: new Map() }
  const streaks = new Map<string, number>()
  for (const [region, ms] of latencies) {
    if (isClearlyBetter(ms, present, policy)) streaks.set(region, (state.streaks.get(region) ?? 0) + 1)
  }
  const winner = lowest([...latencies].filter(([region]) => (streaks.get(region) ?? 0) >= policy.rounds))
  return winner === undefined ? { region: state.region, streaks } : { region: winner, streaks: new Map() }
}

export const DETECTION_OUTCOMES = ['first', 'kept', 'pending', 'changed', 'unreachable'] as const
export type DetectionOutcome = typeof DETECTION_OUTCOMES[number]

/** What a detection led to, for logs and metrics; `pending`: another region is clearly better, but not for long enough yet. */
export function outcomeOf (before: RegionState, after: RegionState, latencies: ReadonlyMap<string, number>): DetectionOutcome {
  if (latencies.size === 0) return 'unreachable'
  if (before.region === undefined) return 'first'
  if (before.region !== after.region) return 'changed'
  return after.streaks.size > 0 ? 'pending' : 'kept'
}
