/** Whether a super-node is kept aside because it is much worse than the others; changed only by {@link ejectOutliers}. */
export interface Ejection {
  /** Monotonic ms at which it ends; 0 while there was none. */
  until: number
  /** Ejections in a row. */
  count: number
}

/** How a node did over the last window. */
export interface Performance {
  /** Latency is compared with nodes of the same region only: distance is not a fault. */
  readonly region: string
  /** Would be asked if it were not ejected. */
  readonly usable: boolean
  readonly good: number
  readonly bad: number
  /** Median time to response head, ms; undefined with too few samples. */
  readonly p50: number | undefined
  readonly ejection: Ejection
}

export interface OutlierPolicy {
  /** Share of the nodes that may be ejected at the same time, percent; 0 switches ejection off. */
  readonly maxPercent: number
  /** Answers below which a success rate says nothing. */
  readonly minRequests: number
  /** Standard deviations below the mean success rate of the others. */
  readonly deviations: number
  /** However equal the others are, a success rate this close to their mean is none to eject for. */
  readonly successMargin: number
  /** Multiple of the median latency of the others. */
  readonly latencyFactor: number
  /** Difference to that median below which nobody is too slow, ms. */
  readonly latencyMarginMs: number
  /** First ejection, ms; doubles with every repeat. */
  readonly initialMs: number
  /** Longest ejection, ms; a node that behaves for so long after one starts over. */
  readonly maxMs: number
}

export const DEFAULT_OUTLIER_POLICY: OutlierPolicy = {
  maxPercent: 50,
  minRequests: 20,
  // As in Envoy, whose factor is 1.9.
  deviations: 1.9,
  successMargin: 0.1,
  latencyFactor: 3,
  // A viewer does not notice less.
  latencyMarginMs: 100,
  initialMs: 30_000,
  maxMs: 300_000
}

export function newEjection (): Ejection {
  return { until: 0, count: 0 }
}

export function isEjected (ejection: Ejection, now: number): boolean {
  return ejection.until > now
}

/**
 * Ejects nodes that are much worse than the others, the worst first, and returns them. A node is compared with the others only,
 * because among few nodes a bad one moves mean and median towards itself. At most `maxPercent` of `nodes` are ejected at any
 * time, and at least one usable node is left.
 */
export function ejectOutliers<T extends Performance> (nodes: readonly T[], now: number, policy: OutlierPolicy): T[] {
  const asked = nodes.filter(node => node.usable && !isEjected(node.ejection, now))
  const most = Math.floor(nodes.length * policy.maxPercent / 100)
  const ejected = nodes.filter(node => isEjected(node.ejection, now)).length
  const room = Math.max(0, Math.min(most - ejected, asked.length - 1))
  const outliers = asked
    .map(node => ({ node, badness: badness(node, asked, policy) }))
    .filter(({ badness }) => badness > 0)
    .toSorted((a, b) => b.badness - a.badness)
    .slice(0, room)
    .map(({ node }) => node)
  for (const { ejection } of outliers) {
    if (now - ejection.until >= policy.maxMs) ejection.count = 0
    // The exponent is capped where doubling passes any sane maximum, so that it cannot overflow.
    ejection.until = now + Math.min(policy.maxMs, policy.initialMs * 2 ** Math.min(ejection.count, 30))
    ejection.count++
  }
  return outliers
}

/** 0 for a node to keep; failing nodes are above 1, slow ones at or below it, so that failing ones go first. */
function badness (node: Performance, asked: readonly Performance[], policy: OutlierPolicy): number {
  const others = asked.filter(other => other !== node)
  const rate = successRate(node, policy)
  const rates = others.map(other => successRate(other, policy)).filter(other => other !== undefined)
  if (rate !== undefined && rates.length > 0) {
    const mean = rates.reduce((sum, other) => sum + other, 0) / rates.length
    const deviation = Math.sqrt(rates.reduce((sum, other) => sum + (other - mean) ** 2, 0) / rates.length)
    const missing = mean - rate
    if (missing > policy.deviations * deviation && missing > policy.successMargin) return 1 + missing
  }
  const { p50 } = node
  const medians = others.filter(other => other.region === node.region).map(other => other.p50).filter(other => other !== undefined)
  if (p50 === undefined || medians.length === 0) return 0
  const median = middle(medians)
  if (p50 > policy.latencyFactor * median && p50 - median > policy.latencyMarginMs) return 1 - median / p50
  return 0
}

function successRate ({ good, bad }: Performance, policy: OutlierPolicy): number | undefined {
  const requests = good + bad
  return requests === 0 || requests < policy.minRequests ? undefined : good / requests
}

/** Lower median of at least one number. */
function middle (values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)] ?? 0
}
