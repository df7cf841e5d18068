import type { Timers } from '../../src/base/clock.ts'

export interface VirtualTimers extends Timers {
  /** Timers that wait now. */
  readonly waiting: number
  /** Lets `ms` pass; after every timer, what it set off gets to run to its end. */
  pass (ms: number): Promise<void>
}

/** Time that moves by hand. */
export function virtualTimers (): VirtualTimers {
  const timers = new Set<{ readonly at: number, readonly callback: () => void }>()
  let now = 0
  return {
    now: () => now,
    after (ms, callback) {
      const timer = { at: now + ms, callback }
      timers.add(timer)
      return () => { timers.delete(timer) }
    },
    get waiting () { return timers.size },
    async pass (ms) {
      const end = now + ms
      for (;;) {
        const next = [...timers].sort((a, b) => a.at - b.at)[0]
        if (next === undefined || next.at > end) break
        timers.delete(next)
        now = next.at
        next.callback()
        // Every promise that can settle without time passing has settled before an immediate runs.
        await new Promise(resolve => { setImmediate(resolve) })
      }
      now = end
    }
  }
}
