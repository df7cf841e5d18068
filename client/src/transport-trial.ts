/** When another transport is given a try, and whether it was better: pure decisions. */

/** Answers have been late for so long, milliseconds: two samples. */
const LATE_FOR_MS = 400
/** Another transport has to be so many times as fast to be changed to. */
const BETTER = 1.5
/** Pause between tries, milliseconds; doubles with each that was in vain. */
const FIRST_PAUSE_MS = 30_000
const LAST_PAUSE_MS = 1_800_000

/** How a try runs, milliseconds of work: a connection that has just begun is left out of the measurement. */
export const SETTLE_MS = 400
export const MEASURE_MS = 600
/** On long paths, round trips: TCP doubles its window with each from 14 kB to what 100 Mbit/s at 300 ms need, 4 MB. */
const SETTLE_TRIPS = 8
const MEASURE_TRIPS = 4
const LIMIT_TRIPS = 20
/** Less work says nothing, and longer than this it is not waited for, milliseconds. */
const LEAST_MS = 200
const LIMIT_MS = 10_000

export interface TrialState {
  readonly notBefore: number
  readonly pauseMs: number
}

export const NO_TRIAL_YET: TrialState = { notBefore: 0, pauseMs: FIRST_PAUSE_MS }

/** @param lateSince since when answers are late */
export function mayTry (state: TrialState, lateSince: number | undefined, now: number): boolean {
  return lateSince !== undefined && now - lateSince >= LATE_FOR_MS && now >= state.notBefore
}

export function afterTry (state: TrialState, now: number): TrialState {
  return { notBefore: now + state.pauseMs, pauseMs: Math.min(LAST_PAUSE_MS, state.pauseMs * 2) }
}

/** What came over one transport in a sample. */
export interface Flow {
  readonly bytes: number
  /** Bodies came all the time. */
  readonly isBusy: boolean
}

export interface TrialSample {
  /** Monotonic milliseconds. */
  readonly now: number
  readonly spanMs: number
  readonly own: Flow
  /** Undefined when its connection is gone. */
  readonly other: Flow | undefined
  /** So many times the present rate the transport in use may still give, with more sessions. */
  readonly headroom: number
  /** Of a request over the other transport, milliseconds. */
  readonly tripMs: number
}

interface Meter {
  readonly bytes: number
  readonly ms: number
}

/** Both transports at work at the same time. */
export interface Comparison {
  readonly since: number
  /** Rate of the transport in use before, bytes per millisecond. */
  readonly before: number
  readonly settledMs: number
  readonly own: Meter
  readonly other: Meter
  /** Whether the other one is better; undefined until that can be said. */
  readonly better: boolean | undefined
}

export function startComparison (now: number, before: number): Comparison {
  return { since: now, before, settledMs: 0, own: { bytes: 0, ms: 0 }, other: { bytes: 0, ms: 0 }, better: undefined }
}

function metered (meter: Meter, { bytes, isBusy }: Flow, spanMs: number): Meter {
  return isBusy ? { bytes: meter.bytes + bytes, ms: meter.ms + spanMs } : meter
}

const rateOf = ({ bytes, ms }: Meter): number => ms < LEAST_MS ? 0 : bytes / ms

/** Takes a sample. */
export function nextComparison (state: Comparison, { now, spanMs, own, other, headroom, tripMs }: TrialSample): Comparison {
  if (state.better !== undefined) return state
  if (other === undefined) return { ...state, better: false }
  const isSettled = state.settledMs >= Math.max(SETTLE_MS, SETTLE_TRIPS * tripMs)
  const next: Comparison = {
    ...state,
    settledMs: state.settledMs + (other.isBusy ? spanMs : 0),
    own: isSettled ? metered(state.own, own, spanMs) : state.own,
    other: isSettled ? metered(state.other, other, spanMs) : state.other
  }
  const isOver = now - state.since >= LIMIT_MS + LIMIT_TRIPS * tripMs
  if (!isOver && next.other.ms < Math.max(MEASURE_MS, MEASURE_TRIPS * tripMs)) return next
  const better = (factor: number): boolean => isBetter(rateOf(next.other), Math.max(state.before, rateOf(next.own) * factor))
  // Where both share what the path can carry, neither is faster than the first one was alone.
  if (isOver || headroom <= 1) return { ...next, better: better(1) }
  // Both go on until it shows what more sessions bring, unless they cannot bring as much.
  return better(headroom) ? { ...next, better: true } : next
}

/** @param rate of the other transport and @param before of the one in use, bytes per millisecond */
export function isBetter (rate: number, before: number): boolean {
  return rate > 0 && rate >= before * BETTER
}
