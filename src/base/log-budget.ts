/** Log lines that may leave in one period: strangers decide how many there would be. */
export class LogBudget {
  readonly #lines: number
  #left: number
  #dropped = 0

  /** @param lines allowed between two calls of {@link renew} */
  constructor (lines: number) {
    this.#lines = lines
    this.#left = lines
  }

  /** Whether one more line may be written; counts it when not. */
  spend (): boolean {
    if (this.#left > 0) this.#left--
    else this.#dropped++
    return this.#left >= 0 && this.#dropped === 0
  }

  /** Begins the next period; returns how many lines the last one dropped. */
  renew (): number {
    const dropped = this.#dropped
    this.#left = this.#lines
    this.#dropped = 0
    return dropped
  }
}
