/** When a gateway that ended is started again. */
export interface RestartPolicy {
  /** Pause after the second early end in a row, ms; doubles with every further one. There is none after the first. */
  readonly initialMs: number
  readonly maxMs: number
  /** A gateway that lived longer than this was healthy, ms: its end starts the pauses over. */
  readonly healthyMs: number
}

export const DEFAULT_RESTART_POLICY: RestartPolicy = {
  // A gateway that is killed now and then is replaced immediately; this is short beside the start of a process, some 200 ms.
  initialMs: 100,
  maxMs: 10_000,
  healthyMs: 10_000
}

/**
 * Pause before the next start.
 * @param early ends in a row that came before `healthyMs`
 */
export function restartDelay (early: number, policy: RestartPolicy): number {
  return early === 0 ? 0 : Math.min(policy.maxMs, policy.initialMs * 2 ** Math.min(early - 1, 30))
}

/** Early ends in a row after one more end. */
export function countEarly (early: number, livedMs: number, policy: RestartPolicy): number {
  return livedMs >= policy.healthyMs ? 0 : early + 1
}
