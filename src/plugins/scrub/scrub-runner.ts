import type { Timers } from '../../base/clock.ts'
import type { Scrub } from './scrub.ts'

export interface ScrubRunnerOptions {
  readonly scrub: Pick<Scrub, 'step' | 'release'>
  readonly timers: Timers
  /** Keeps where the scrub is; may reject, and is tried again. */
  readonly save: () => Promise<void>
}

/** Where the scrub is, is written so often, ms: a crash costs no more than that. */
export const SAVE_MS = 10_000

/** Calls the steps of the scrub when they are due, one after the other, until it is stopped. */
export class ScrubRunner {
  readonly #options: ScrubRunnerOptions
  #cancel: (() => void) | undefined
  #stepping: Promise<void> | undefined
  #savedAt = -Infinity
  #stopped = false

  constructor (options: ScrubRunnerOptions) {
    this.#options = options
  }

  start (): void {
    if (this.#stepping === undefined && this.#cancel === undefined) this.#after(0)
  }

  /** The next step comes now, whatever it was waiting for. */
  wake (): void {
    if (this.#cancel === undefined) return
    this.#cancel()
    this.#after(0)
  }

  /** Ends after the step under way, and keeps where it is; idempotent. */
  async stop (): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    this.#cancel?.()
    this.#cancel = undefined
    await this.#stepping
    await this.#options.scrub.release()
    await this.#save()
  }

  #after (ms: number): void {
    this.#cancel = this.#options.timers.after(ms, () => {
      this.#cancel = undefined
      this.#stepping = this.#step().then(next => {
        this.#stepping = undefined
        if (!this.#stopped) this.#after(next)
      })
    })
  }

  async #step (): Promise<number> {
    const { scrub, timers } = this.#options
    const next = await scrub.step()
    if (timers.now() - this.#savedAt >= SAVE_MS) await this.#save()
    return next
  }

  async #save (): Promise<void> {
    this.#savedAt = this.#options.timers.now()
    await this.#options.save().catch(() => {})
  }
}
