import type { Timers } from '../../base/clock.ts'
import { Serial } from '../../base/serial.ts'

/** Longest time that what has changed is in memory only, ms. */
export const KEEP_MS = 10_000

export interface KeptTextOptions {
  /** All of what is kept, now. */
  readonly text: () => string
  /** Called for one text after the other. */
  readonly write: (text: string) => Promise<void>
  readonly timers: Timers
  readonly failed: (error: unknown) => void
}

/** Writes what changes to a file now and then, and at the end. */
export class KeptText {
  readonly #options: KeptTextOptions
  #cancel: (() => void) | undefined
  readonly #writes = new Serial()
  #closed = false

  constructor (options: KeptTextOptions) {
    this.#options = options
  }

  /** There is something else to keep. */
  readonly changed = (): void => {
    if (!this.#closed) this.#cancel ??= this.#options.timers.after(KEEP_MS, () => { this.#write() })
  }

  /** Writes what is not written yet; resolves when that is done. */
  async close (): Promise<void> {
    this.#closed = true
    if (this.#cancel !== undefined) this.#write()
    await this.#writes.ended()
  }

  #write (): void {
    const { text, write, failed } = this.#options
    this.#cancel?.()
    this.#cancel = undefined
    void this.#writes.run(async () => { await write(text()) }).catch(failed)
  }
}
