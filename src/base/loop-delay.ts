import { systemTimers, type Timers } from './clock.ts'

/** Time between two looks at the event loop, ms: 50 wake-ups a second cost nothing that shows, and what is shorter does no harm. */
const RESOLUTION_MS = 20
/** Looks kept when nobody takes them: ten seconds. */
export const MAX_LOOKS = 10_000 / RESOLUTION_MS

/**
 * How long the event loop keeps callbacks waiting. `monitorEventLoopDelay` of `node:perf_hooks` loses a stall that begins before its first tick
 * after a `reset()`: a loop that is blocked all the time reads 0. Here the stall that is under way counts as well.
 */
export class LoopDelay {
  readonly #timers: Timers
  readonly #late: number[] = []
  #dueAt: number
  #cancel = (): void => {}

  constructor (timers: Timers = systemTimers) {
    this.#timers = timers
    this.#dueAt = timers.now()
    this.#look()
  }

  /** 99th percentile of the delay since the last call, ms, the present one included; starts over. */
  take (): number {
    const now = this.#timers.now()
    const late = [...this.#late.splice(0), Math.max(0, now - this.#dueAt)].sort((a, b) => a - b)
    // What has been counted of the stall under way is not counted again when it ends.
    this.#dueAt = Math.max(this.#dueAt, now)
    return late[Math.ceil(late.length * 0.99) - 1] ?? 0
  }

  stop (): void {
    this.#cancel()
  }

  #look (): void {
    const now = this.#timers.now()
    if (this.#late.length < MAX_LOOKS) this.#late.push(Math.max(0, now - this.#dueAt))
    this.#dueAt = now + RESOLUTION_MS
    this.#cancel = this.#timers.after(RESOLUTION_MS, () => { this.#look() })
  }
}
