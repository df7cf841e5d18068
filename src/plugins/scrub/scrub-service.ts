import { systemTimers, type Clock, type Timers } from '../../base/clock.ts'
import { Serial } from '../../base/serial.ts'
import { Scrub, type ScrubOptions } from './scrub.ts'
import { ScrubRunner } from './scrub-runner.ts'
import { scrubStateText, type ScrubState } from './scrub-state.ts'

/** What the scrub does now; `waiting`: for the next pass, or until there is less to do for viewers. */
export type ScrubStatus = 'off' | 'paused' | 'running' | 'waiting'

export interface ScrubServiceOptions extends ScrubOptions {
  readonly clock: Clock
  readonly timers?: Timers
  /** Bytes of the cache now. */
  readonly cachedBytes: () => number
  /** Keeps the text of the state; may reject. */
  readonly keep: (text: string) => Promise<void>
}

/** The scrub of a relay as operators see it. */
export class ScrubService {
  readonly #options: ScrubServiceOptions
  readonly #scrub: Scrub
  readonly #saves = new Serial()
  readonly #runner: ScrubRunner
  /** The text that the file has. */
  #kept: string

  constructor (options: ScrubServiceOptions) {
    this.#options = options
    this.#kept = scrubStateText(options.state)
    this.#scrub = new Scrub(options)
    this.#runner = new ScrubRunner({ scrub: this.#scrub, timers: options.timers ?? systemTimers, save: async () => { await this.#save() } })
  }

  get state (): Readonly<ScrubState> { return this.#scrub.state }
  get bytesPerSecond (): number { return this.#options.bytesPerSecond }

  get status (): ScrubStatus {
    if (this.#scrub.off) return 'off'
    return this.state.paused ? 'paused' : this.#scrub.active ? 'running' : 'waiting'
  }

  /** Share of the bytes of the cache that the pass under way, or else the last one, has verified, 0 to 1; what went since then counts as if it were there. */
  get coverage (): number {
    const verified = (this.state.pass ?? this.state.last)?.bytes ?? 0
    const cached = this.#options.cachedBytes()
    return cached === 0 ? 1 : Math.min(1, verified / cached)
  }

  /** Time within which every cached file was verified or stored, ms; undefined before the first complete pass. */
  get ageMs (): number | undefined {
    const { verifiedSince } = this.state
    return verifiedSince === null ? undefined : Math.max(0, this.#options.clock.now() - verifiedSince)
  }

  /** Begins to run. */
  open (): void {
    if (!this.#scrub.off) this.#runner.start()
  }

  /** See {@link Scrub.start}. */
  start (): void {
    this.#scrub.start()
    this.#runner.wake()
  }

  /** See {@link Scrub.pause}; it is kept when this resolves, if the disk takes it. */
  async pause (): Promise<void> {
    this.#scrub.pause()
    this.#runner.wake()
    await this.#save().catch(() => {})
  }

  async close (): Promise<void> {
    await this.#runner.stop()
  }

  /** One after the other: of two at the same time the older might be the last to be kept. */
  async #save (): Promise<void> {
    await this.#saves.run(async () => {
      const text = scrubStateText(this.state)
      if (text === this.#kept) return
      await this.#options.keep(text)
      this.#kept = text
    })
  }
}
