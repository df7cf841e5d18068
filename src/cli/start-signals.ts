const ignored = (): void => {}

/**
 * Signals while the relay starts, which whoever is process 1 of a container gets only when it handles them. The start is called off by the first, and
 * the process ends by a second one, or when the start does not end in time.
 */
export class StartSignals {
  readonly #starting = new AbortController()
  readonly #deadlineMs: number

  /** Takes signals over from whoever listened before. @param deadlineMs time for a start that was called off to end, ms */
  constructor (deadlineMs: number) {
    this.#deadlineMs = deadlineMs
    // SIGHUP: what it would read again is about to be read.
    for (const [name, listener] of [['SIGTERM', this.#stop], ['SIGINT', this.#stop], ['SIGHUP', ignored]] as const) {
      const before = process.listeners(name)
      process.on(name, listener)
      // Only now: a signal that finds no listener is lost.
      for (const other of before) process.off(name, other)
    }
  }

  get signal (): AbortSignal { return this.#starting.signal }

  /** From now on somebody else handles them. */
  end (): void { process.off('SIGTERM', this.#stop).off('SIGINT', this.#stop).off('SIGHUP', ignored) }

  readonly #stop = (): void => {
    if (this.signal.aborted) process.exit(1)
    this.#starting.abort()
    setTimeout(() => { process.exit(1) }, this.#deadlineMs).unref()
  }
}
