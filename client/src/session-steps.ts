/**
 * How many sessions a client should have: a pure decision over samples of its traffic. More are tried while the answers under way would take too long at
 * the rate they come and do not wait in a queue, kept when the rate rises with them, given back when it does not, when they are not needed for a while, or when
 * the queue of everybody is long.
 */
import { FIRST_PATIENCE_MS, MAX_STREAMS } from './session-count.ts'
import type { Sample, SessionCount, Trial } from './session-count.ts'

export const MAX_SESSIONS = 8
/** Time between samples while answers are under way, milliseconds: some round trips of most paths, one and a half of long ones. */
export const SAMPLE_MS = 200
const LONGEST_SAMPLE_MS = 1_000

/** @param tripMs of a request, undefined until that is known */
export function sampleMs (tripMs: number | undefined): number {
  return Math.min(LONGEST_SAMPLE_MS, Math.max(SAMPLE_MS, (tripMs ?? 0) * 1.5))
}

/** Sessions at each step. One CUBIC connection at 30 ms and 1 % loss needs 11.5 s for 8 MB, four 4.1 s, eight 2.6 s. */
const LADDER = [1, 4, MAX_SESSIONS] as const
/** Answers that need longer than this at the present rate, milliseconds, are late; with these they are so late that a step is taken immediately. */
const LATE_MS = 1_000
const VERY_LATE_MS = 4_000
/** Others have to be late for so long, milliseconds: everybody is when many viewers come at the same time, and that passes. */
const LATE_FOR_MS = 2_000
/** A rate that grows by more than this from sample to sample is still finding the limit of the path by itself. */
const STARTING_UP = 1.25
/** Samples before a step and after it that are compared. */
const BEFORE = 2
const AFTER = 3
/** Samples left out after a step, while new sessions start slowly. */
const SETTLING = 2
/**
 * A step to that place of the ladder is kept when the rate becomes so many times what it was. Measured at 1 to 2 % loss: 2.8 to 3.7 for the first, 1.6 to
 * 1.7 for the second; where many viewers share what limits them the rate of one may well rise by a half by chance.
 */
const GAINS = [1, 1.7, 1.3] as const
/** Sessions that have work when a step is judged, of those that are open. */
const WORKING_SHARE = 0.75
/** A sample counts when answers were under way for this share of it. */
const BUSY_SHARE = 0.6
/** Below this share of what the relay grants the viewer, it is not the relay that holds it back. */
const SHARE_USED = 0.8
/**
 * Answers that take so many times the shortest, and so much longer, milliseconds, wait in a queue: of the relay's processor, or of a link that is full. More
 * sessions would only take from others there, who would answer in kind. A path that loses packets has no queue.
 */
const QUEUED = { times: 2, moreMs: 8 } as const
/** Of so long a queue sessions are given back, after this time, milliseconds: somebody else's, since those of this client alone fill none so long. */
const CROWDED = { times: 10, moreMs: 40 } as const
const CROWDED_FOR_MS = 1_500
/** Longest pause after a step that was not worth it. */
const LAST_PAUSE_MS = 600_000
/** Shortest time without further sessions after the relay refused one. */
const REFUSED_MS = 5_000
/** Longest time without late answers after which sessions are given back. */
const LAST_PATIENCE_MS = 320_000

const TOP = LADDER.length - 1
const isTop = ({ step, several }: SessionCount): boolean => step === TOP || !several
const mean = (values: readonly number[]): number => values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length

function withTarget (state: SessionCount): SessionCount {
  return { ...state, target: Math.max(LADDER[state.step] ?? 1, state.floor) }
}

/** The step was not worth it, or could not be made. */
function stepBack (state: SessionCount, step: number, now: number, pauseMs: number): SessionCount {
  return { ...state, step, trial: undefined, rates: [], proven: Math.max(1, step), notBefore: now + pauseMs, pauseMs: Math.min(LAST_PAUSE_MS, state.pauseMs * 2) }
}

function withFloor (state: SessionCount, { now, streams }: Sample): SessionCount {
  if (!state.several || now < state.refusedUntil) return state
  const floor = Math.min(MAX_SESSIONS, Math.max(1, Math.ceil(streams / MAX_STREAMS)))
  return floor >= state.floor || now - state.floorAt >= FIRST_PATIENCE_MS ? { ...state, floor, floorAt: now } : state
}

function exceeds ({ tripMs, waitMs }: Sample, { times, moreMs }: { readonly times: number, readonly moreMs: number }): boolean {
  return tripMs !== undefined && waitMs !== undefined && waitMs > Math.max(tripMs * times, tripMs + moreMs)
}

function withQueue (state: SessionCount, sample: Sample): SessionCount {
  if (sample.waitMs === undefined) return state
  return { ...state, queued: exceeds(sample, QUEUED), crowdedSince: exceeds(sample, CROWDED) ? state.crowdedSince ?? sample.now : undefined }
}

function judge (state: SessionCount, trial: Trial, rate: number, sample: Sample): SessionCount {
  // Sessions that are still being made say nothing, nor do those without work.
  if (sample.open < state.target || sample.working < sample.open * WORKING_SHARE) return state
  const rates = [...trial.rates, rate]
  if (rates.length < SETTLING + AFTER) return { ...state, trial: { ...trial, rates } }
  const after = rates.slice(SETTLING)
  if (mean(after) < trial.before * (GAINS[state.step] ?? 1)) return stepBack(state, trial.from, sample.now, state.pauseMs)
  return { ...state, trial: undefined, proven: state.step, rates: after.slice(-BEFORE) }
}

function stepUp (state: SessionCount, now: number): SessionCount {
  const [first = 0, second = 0] = state.rates
  if (state.rates.length < BEFORE || second === 0 || second > first * STARTING_UP || isTop(state) || state.queued || now < state.notBefore) return state
  const step = state.step === 0 ? state.proven : state.step + 1
  // Needed again: the next time they are kept longer.
  const again = state.step === 0 && state.proven > 1 ? Math.min(LAST_PATIENCE_MS, state.patienceMs * 2) : state.patienceMs
  return { ...state, step, patienceMs: again, trial: { from: state.step, before: Math.min(first, second), since: now, rates: [] } }
}

/** Takes a sample; the new state says how many sessions there should be. */
export function nextCount (state: SessionCount, sample: Sample): SessionCount {
  const { now, spanMs, busyMs, bytes, outstandingBytes, limitBps } = sample
  let next = withQueue(withFloor(state, sample), sample)
  const isBusy = busyMs > 0 && busyMs >= spanMs * BUSY_SHARE
  const rate = isBusy ? bytes / busyMs : 0
  const granted = limitBps === undefined ? Number.POSITIVE_INFINITY : limitBps / 8_000 * SHARE_USED
  const isLate = isBusy && outstandingBytes > rate * LATE_MS && rate < granted
  if (isBusy) next = { ...next, rates: [...next.rates, rate].slice(-BEFORE) }
  next = isLate ? { ...next, lateAt: now, lateSince: next.lateSince ?? now } : { ...next, lateSince: undefined }
  // The end of an answer says nothing of the rate.
  if (next.trial !== undefined && isBusy && outstandingBytes * 2 >= bytes) next = judge(next, next.trial, rate, sample)
  else if (next.trial === undefined && isLate && (outstandingBytes > rate * VERY_LATE_MS || now - (next.lateSince ?? now) >= LATE_FOR_MS)) next = stepUp(next, now)
  if (next.step > 0 && next.crowdedSince !== undefined && now - next.crowdedSince >= CROWDED_FOR_MS) next = { ...stepBack(next, 0, now, next.pauseMs), crowdedSince: undefined }
  if (next.step > 0 && now - Math.max(next.lateAt, next.trial?.since ?? 0) >= next.patienceMs) next = { ...next, step: 0, trial: undefined, rates: [] }
  return withTarget(next)
}

/** A session that was wanted could not be had: those that are open have to do, for a while. */
export function sessionRefused (state: SessionCount, now: number, open: number, retryAfterMs: number): SessionCount {
  const step = Math.max(0, LADDER.findLastIndex(sessions => sessions <= open))
  const pauseMs = Math.max(state.pauseMs, retryAfterMs)
  return withTarget({ ...stepBack(state, Math.min(state.step, step), now, pauseMs), floor: Math.max(1, Math.min(state.floor, open)), refusedUntil: now + Math.max(REFUSED_MS, retryAfterMs) })
}

/** So many times the present rate more sessions may still give. */
export function headroom (state: SessionCount, now: number, open: number): number {
  const isKnown = !state.several || (state.trial === undefined && (isTop(state) || now < state.notBefore))
  return isKnown ? 1 : MAX_SESSIONS / Math.max(1, open)
}
