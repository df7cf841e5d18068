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

/** Milliseconds as they are shown: in hundredths, more digits are noise; null stays. */
export function roundMs (ms: number | null): number | null {
  return ms === null ? null : Math.round(ms * 100) / 100
}

/** Time for what has to wait; tests pass timers they move by hand. */
export interface Timers {
  /** Monotonic, milliseconds. */
  now (): number
  /** Calls back once after `ms`; the returned function cancels. */
  after (ms: number, callback: () => void): () => void
}

/** Timers that never keep the process alive. */
export const systemTimers: Timers = {
  now: systemClock.monotonic,
  after (ms, callback) {
    const timer = setTimeout(callback, ms)
    timer.unref()
    return () => { clearTimeout(timer) }
  }
}

/**
 * Calls back once after `ms`, and after what had arrived by then has been read: when the event loop stood still, timers come before it, and who has long
 * answered would be taken for late. The returned function cancels.
 */
export function afterArrivals (timers: Timers, ms: number, callback: () => void): () => void {
  let cancelled = false
  const cancel = timers.after(ms, () => { setImmediate(() => { if (!cancelled) callback() }) })
  return () => {
    cancelled = true
    cancel()
  }
}
