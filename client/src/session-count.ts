/* How many sessions a client has, and what is known of its traffic; what is made of that is decided in `session-steps.ts`. */

/** Streams of one session: the relay's engine gives 100, and browsers reject the next; the rest is for those that are just ending. */
export const MAX_STREAMS = 96
/** Pause after a step that was not worth it; doubles with each. */
export const FIRST_PAUSE_MS = 10_000
/** Time without late answers after which sessions are given back; doubles each time they turn out to be needed again. */
export const FIRST_PATIENCE_MS = 10_000

export interface Sample {
  /** Monotonic milliseconds. */
  readonly now: number
  /** Time since the last sample, and how much of it answers were under way, milliseconds. */
  readonly spanMs: number
  readonly busyMs: number
  /** Bytes of bodies that came since the last sample. */
  readonly bytes: number
  /** Bytes of bodies that have begun and are still to come. */
  readonly outstandingBytes: number
  /** Requests that have or want a stream. */
  readonly streams: number
  /** Sessions that are open. */
  readonly open: number
  /** Sessions that have something to carry. */
  readonly working: number
  /** What the relay grants the viewer, bits per second; undefined when it says nothing. */
  readonly limitBps: number | undefined
  /** Shortest time from a request to its answer on this path, milliseconds; undefined until that is known. */
  readonly tripMs?: number | undefined
  /** Time to the answer of hits since the last sample, the middle one, milliseconds; undefined when there was none. */
  readonly waitMs?: number | undefined
}

export interface Trial {
  readonly from: number
  /** Rate before, bytes per millisecond: the lower sample, since a session starts faster than it goes on. */
  readonly before: number
  readonly since: number
  /** Samples since the sessions are open. */
  readonly rates: readonly number[]
}

export interface SessionCount {
  /** Sessions wanted. */
  readonly target: number
  /** Step of the ladder. */
  readonly step: number
  /** Highest step that proved worth it: the next need goes there directly. */
  readonly proven: number
  /** Rates of the last busy samples, oldest first, bytes per millisecond. */
  readonly rates: readonly number[]
  readonly trial: Trial | undefined
  readonly pauseMs: number
  /** No step up before. */
  readonly notBefore: number
  readonly patienceMs: number
  /** When answers were late last, and since when without a break. */
  readonly lateAt: number
  readonly lateSince: number | undefined
  /** Sessions for the streams wanted, and when so many were wanted last. */
  readonly floor: number
  readonly floorAt: number
  /** Answers waited in a queue when that was last known; and since when without a break in one so long that sessions are given back. */
  readonly queued: boolean
  readonly crowdedSince: number | undefined
  /** The relay refused a session: no further ones are wanted before. */
  readonly refusedUntil: number
  /** More than one session is of use. */
  readonly several: boolean
}

/** @param several whether this transport gains anything from more sessions; browsers and Node open connections for plain HTTP by themselves */
export function startCount (now: number, several: boolean): SessionCount {
  return {
    target: 1,
    step: 0,
    proven: 1,
    rates: [],
    trial: undefined,
    pauseMs: FIRST_PAUSE_MS,
    notBefore: now,
    patienceMs: FIRST_PATIENCE_MS,
    lateAt: now,
    lateSince: undefined,
    floor: 1,
    floorAt: now,
    queued: false,
    crowdedSince: undefined,
    refusedUntil: now,
    several
  }
}
