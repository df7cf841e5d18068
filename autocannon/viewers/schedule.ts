/** When requests are due, decided before the first is sent: a server that is late does not slow down those who ask it. */

export type ArrivalKind = 'poisson' | 'even'

/** Requests of one run at most; a schedule is held in memory. */
const MAX_ARRIVALS = 10_000_000

/**
 * Times of arrivals, milliseconds from the start, ascending and below `seconds`.
 * @param perSecond mean rate, above 0
 * @param random in [0, 1); unused for `even`, whose phase it draws
 * @throws RangeError for no rate, no time, or more arrivals than memory is meant to hold
 */
export function arrivals (kind: ArrivalKind, perSecond: number, seconds: number, random: () => number): Float64Array {
  if (!(perSecond > 0) || !(seconds > 0)) throw new RangeError(`${perSecond} arrivals per second for ${seconds} s are not a schedule`)
  if (perSecond * seconds > MAX_ARRIVALS) throw new RangeError(`${Math.round(perSecond * seconds)} arrivals are more than ${MAX_ARRIVALS}`)
  const end = seconds * 1_000
  const gap = 1_000 / perSecond
  const times: number[] = []
  // Slots with the same rate must not all arrive at the same time, so an even schedule begins anywhere within its gap.
  let at = kind === 'even' ? random() * gap : exponential(gap, random)
  while (at < end) {
    times.push(at)
    at += kind === 'even' ? gap : exponential(gap, random)
  }
  return Float64Array.from(times)
}

/** An exponentially distributed pause; 1 - random() is never 0. */
function exponential (mean: number, random: () => number): number {
  return -Math.log(1 - random()) * mean
}
