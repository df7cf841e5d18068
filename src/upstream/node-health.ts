/** What is known of a super-node's fitness; changed only by the functions of this module. */
export interface NodeHealth {
  /** Failures since the last success. */
  failures: number
  /** Monotonic ms before which the node is asked last; 0 while it is up. */
  retryAt: number
  /** Smoothed time from request to response head, ms; undefined before the first answer. */
  latencyMs: number | undefined
}

export interface BackoffPolicy {
  readonly initialMs: number
  readonly maxMs: number
}

export interface Candidate {
  readonly region: string
  readonly health: NodeHealth
}

/** Weight of a new sample: about the last ten answers count. */
const LATENCY_WEIGHT = 0.2

export function newHealth (): NodeHealth {
  return { failures: 0, retryAt: 0, latencyMs: undefined }
}

export function recordSuccess (health: NodeHealth, latencyMs: number): void {
  health.failures = 0
  health.retryAt = 0
  health.latencyMs = health.latencyMs === undefined ? latencyMs : health.latencyMs + LATENCY_WEIGHT * (latencyMs - health.latencyMs)
}

/** It had not answered after `ms`, when another node had: as slow as that at least. */
export function recordLate (health: NodeHealth, ms: number): void {
  if (health.latencyMs === undefined || ms > health.latencyMs) health.latencyMs = (health.latencyMs ?? ms) + LATENCY_WEIGHT * (ms - (health.latencyMs ?? ms))
}

/**
 * Exponential back-off, the upper half random so that relays do not return together.
 * @param random in [0, 1)
 */
export function recordFailure (health: NodeHealth, now: number, random: number, policy: BackoffPolicy): void {
  // The exponent is capped where doubling passes any sane maximum, so that it cannot overflow.
  const backoff = Math.min(policy.maxMs, policy.initialMs * 2 ** Math.min(health.failures, 30))
  health.failures++
  health.retryAt = now + backoff * (0.5 + random / 2)
}

/**
 * The order in which to ask: nodes that are up before nodes in back-off, the own region before others, then the fastest; a node
 * without a sample comes before slower ones of its group, so that it gets one. Nodes in back-off stay at the end and are not
 * left out: when nothing else answers, they are the only hope.
 */
export function orderNodes<T extends Candidate> (nodes: readonly T[], region: string, now: number): T[] {
  const down = (node: T): number => node.health.retryAt > now ? 1 : 0
  const away = (node: T): number => node.region === region ? 0 : 1
  return nodes.toSorted((a, b) =>
    down(a) - down(b) ||
    (down(a) === 1 ? a.health.retryAt - b.health.retryAt : 0) ||
    away(a) - away(b) ||
    (a.health.latencyMs ?? 0) - (b.health.latencyMs ?? 0))
}
