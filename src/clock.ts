import { performance } from 'node:perf_hooks'

/** Time as the domain sees it; tests pass a clock they move by hand. */
export interface Clock {
  /** Wall clock, milliseconds since the Unix epoch. */
  readonly now: () => number
  /** Monotonic clock, milliseconds since an arbitrary origin; for durations. */
  readonly monotonic: () => number
}

/** The only reader of clocks in the relay. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now()
}
