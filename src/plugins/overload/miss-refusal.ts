import { RelayError } from '../../base/errors.ts'

/** Shedding lasts five seconds at least; viewers that were refused together come back spread over as long, so that they are not a surge again. */
const [SOONEST_S, LATEST_S] = [3, 8]

/** What a miss is answered with while misses are shed. @param random in [0, 1) */
export function missRefusal (random: () => number): RelayError {
  const retryAfterSeconds = SOONEST_S + Math.floor(random() * (LATEST_S - SOONEST_S + 1))
  return new RelayError('RELAY_ERR_OVERLOADED', 'the relay is overloaded and serves only what it has', { retryAfterSeconds })
}
