/** Work that is done one after the other, in the order in which it was given, whether what came before did well or not. How much may wait is bounded by who gives it. */
export class Serial {
  #last: Promise<unknown> = Promise.resolve()

  /** @returns what the work gives; rejects with what it throws */
  async run<T> (work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work)
    this.#last = done.catch(() => {})
    return await done
  }

  /** Resolves when all that was given until now has ended. */
  async ended (): Promise<void> {
    await this.#last
  }
}
