/** When another transport is given a try, and whether it was better: pure decisions. */

/** Answers have been late for so long although more sessions do not help, milliseconds. */
const LATE_FOR_MS = 3_000
/** Another transport has to be so many times as fast to be changed to. */
const BETTER = 1.5
/** Pause between tries, milliseconds; doubles with each that was in vain. */
const FIRST_PAUSE_MS = 30_000
const LAST_PAUSE_MS = 1_800_000

/** How a try runs, milliseconds: a connection that has just begun is left out of the measurement. */
export const SETTLE_MS = 1_000
export const MEASURE_MS = 3_000

export interface TrialState {
  readonly notBefore: number
  readonly pauseMs: number
}

export const NO_TRIAL_YET: TrialState = { notBefore: 0, pauseMs: FIRST_PAUSE_MS }

/** @param lateSince since when answers are late and more sessions do not help */
export function mayTry (state: TrialState, lateSince: number | undefined, now: number): boolean {
  return lateSince !== undefined && now - lateSince >= LATE_FOR_MS && now >= state.notBefore
}

export function afterTry (state: TrialState, now: number): TrialState {
  return { notBefore: now + state.pauseMs, pauseMs: Math.min(LAST_PAUSE_MS, state.pauseMs * 2) }
}

/** @param rate of the other transport and @param before of the one in use, bytes per millisecond */
export function isBetter (rate: number, before: number): boolean {
  return rate > 0 && rate >= before * BETTER
}
