import { asApiError, type ApiError } from './api.ts'

export interface PageTimers {
  /** ms since the epoch. */
  readonly now: () => number
  /** Calls back after so many ms; returns how to give that up. */
  readonly after: (ms: number, callback: () => void) => () => void
}

export interface PollOptions<T> {
  readonly ask: (signal: AbortSignal) => Promise<T>
  /** From one question to the next, ms. */
  readonly everyMs: number
  readonly timers: PageTimers
  readonly changed: () => void
  readonly took?: (value: T, at: number) => void
}

/** An answer that takes longer is late, ms. */
export const LATE_MS = 2_000
/** Least time between an answer and the next question: a relay that is slow is not asked without a pause, ms. */
const REST_MS = 250
/** Longest pause after failures, ms. */
const MAX_BACKOFF_MS = 5_000

/** Asks the same again and again, one question at a time, and goes on whatever the answers are; only a refusal for want of a token ends it. */
export class Poll<T> {
  readonly #options: PollOptions<T>
  #value: T | undefined
  #error: ApiError | undefined
  #answeredAt: number | undefined
  #failures = 0
  #late = false
  #running: AbortController | undefined
  #cancel: () => void = () => {}

  constructor (options: PollOptions<T>) {
    this.#options = options
  }

  /** The latest answer there was. */
  get value (): T | undefined { return this.#value }
  /** Why there was none the last time. */
  get error (): ApiError | undefined { return this.#error }
  /** When the latest answer came, ms since the epoch. */
  get answeredAt (): number | undefined { return this.#answeredAt }
  /** Whether the question that is out has waited too long. */
  get late (): boolean { return this.#late }
  get running (): boolean { return this.#running !== undefined }

  /** Begins, now, or asks immediately where it waits for its next turn. */
  start (): void {
    if (this.#running !== undefined) this.stop()
    const controller = new AbortController()
    this.#running = controller
    void this.#turn(controller)
  }

  /** Gives up the question that is out, and asks no more. */
  stop (): void {
    this.#cancel()
    this.#running?.abort()
    this.#running = undefined
    this.#late = false
  }

  async #turn (controller: AbortController): Promise<void> {
    const { ask, everyMs, timers, changed, took } = this.#options
    const began = timers.now()
    this.#cancel = timers.after(LATE_MS, () => {
      this.#late = true
      changed()
    })
    let waitMs = everyMs
    try {
      const value = await ask(controller.signal)
      if (this.#running !== controller) return
      this.#value = value
      this.#error = undefined
      this.#failures = 0
      this.#answeredAt = timers.now()
      took?.(value, this.#answeredAt)
    } catch (error) {
      if (this.#running !== controller) return
      this.#error = asApiError(error)
      waitMs = Math.max(everyMs, Math.min(MAX_BACKOFF_MS, 1_000 * 2 ** this.#failures++), this.#error.retryAfterMs ?? 0)
    }
    this.#cancel()
    this.#late = false
    if (this.#error?.status === 401) this.#running = undefined
    else this.#cancel = timers.after(Math.max(REST_MS, waitMs - (timers.now() - began)), () => { void this.#turn(controller) })
    changed()
  }
}
