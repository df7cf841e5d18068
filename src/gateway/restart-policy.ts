/** When a gateway that ended is started again. */
export interface RestartPolicy {
  /** First pause, ms; doubles with every early end. */
  readonly initialMs: number
  readonly maxMs: number
  /** A gateway that lived longer than this was healthy, ms: its end starts the pauses over. */
  readonly healthyMs: number
}

export const DEFAULT_RESTART_POLICY: RestartPolicy = {
  // Viewers are back in under two seconds with a process start of less than one.
  initialMs: 100,
  maxMs: 10_000,
  healthyMs: 10_000
}

/**
 * Pause before the next start.
 * @param early ends in a row that came before `healthyMs`
 */
export function restartDelay (early: number, policy: RestartPolicy): number {
  return Math.min(policy.maxMs, policy.initialMs * 2 ** Math.min(early, 30))
}

/** Early ends in a row after one more end. */
export function countEarly (early: number, livedMs: number, policy: RestartPolicy): number {
  return livedMs >= policy.healthyMs ? 0 : early + 1
}
