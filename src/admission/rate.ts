/*
 * Token buckets in the form of the generic cell rate algorithm (ITU-T I.371): the one number of a bucket is the time at which
 * it is full again. A bucket that is full may be forgotten and made anew without any difference, and integers make it exact.
 */

/** Nanoseconds in a millisecond and in a second. */
const NS_PER_MS = 1e6
const NS_PER_SECOND = 1e9

/** When a bucket is full again, nanoseconds of the monotonic clock. */
export type FullAt = number

/** A bucket nothing was ever taken from. */
export const FULL: FullAt = -Infinity

/** `perSecond` tokens a second, and after a quiet second as many in one burst. Times are monotonic milliseconds. */
export class Rate {
  readonly perSecond: number
  /** Nanoseconds until one token has come back; rounded up, so that the rate is never exceeded. */
  readonly #interval: number

  /** @param perSecond 1 to 1,000,000 */
  constructor (perSecond: number) {
    this.perSecond = perSecond
    this.#interval = Math.ceil(NS_PER_SECOND / perSecond)
  }

  /** Whether a token is there for the taking. */
  allows (fullAt: FullAt, now: number): boolean {
    return debt(fullAt, now) + this.#interval <= this.#interval * this.perSecond
  }

  /** The bucket with one token less, or more of them; it may owe some. */
  spend (fullAt: FullAt, now: number, tokens = 1): FullAt {
    return Math.max(fullAt, nanoseconds(now)) + tokens * this.#interval
  }

  /** Tokens missing, a part of one as a whole one. */
  missing (fullAt: FullAt, now: number): number {
    return Math.ceil(debt(fullAt, now) / this.#interval)
  }

  /** Milliseconds until {@link allows}; 0 when it does. */
  waitMs (fullAt: FullAt, now: number): number {
    return Math.max(0, debt(fullAt, now) - this.#interval * (this.perSecond - 1)) / NS_PER_MS
  }
}

function nanoseconds (ms: number): number {
  return Math.round(ms * NS_PER_MS)
}

function debt (fullAt: FullAt, now: number): number {
  return Math.max(0, fullAt - nanoseconds(now))
}

/** Whether a bucket is full, and so need not be remembered. */
export function isFull (fullAt: FullAt, now: number): boolean {
  return debt(fullAt, now) === 0
}

/** One bucket that remembers. */
export class RateBucket {
  #rate: Rate
  #fullAt = FULL

  constructor (perSecond: number) {
    this.#rate = new Rate(perSecond)
  }

  get perSecond (): number { return this.#rate.perSecond }

  /** What is missing stays missing, in time: at most a second. */
  set perSecond (perSecond: number) { this.#rate = new Rate(perSecond) }

  allows (now: number): boolean { return this.#rate.allows(this.#fullAt, now) }

  spend (now: number): void { this.#fullAt = this.#rate.spend(this.#fullAt, now) }

  /** Takes a token if there is one. */
  take (now: number): boolean {
    if (!this.allows(now)) return false
    this.spend(now)
    return true
  }
}
