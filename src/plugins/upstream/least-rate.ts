/** Whether a body comes fast enough. Only the time counts in which we wait for the node: what our own disk or viewers take is not its fault. */
export class LeastRate {
  readonly #windowMs: number
  readonly #bitsPerSecond: number
  #waitedMs = 0
  #bytes = 0

  /**
   * @param bitsPerSecond least average over a window; 0 for any pace
   * @param windowMs of waiting
   */
  constructor (bitsPerSecond: number, windowMs: number) {
    this.#windowMs = windowMs
    this.#bitsPerSecond = bitsPerSecond
  }

  /** Bytes that came after a wait of `ms`; false when a window has ended with too few. */
  took (bytes: number, ms: number): boolean {
    this.#bytes += bytes
    this.#waitedMs += ms
    if (this.#waitedMs < this.#windowMs) return true
    // A long wait is as many windows; the pause that ends it is bounded by the longest silence.
    const enough = this.#bytes * 8_000 >= this.#bitsPerSecond * this.#waitedMs
    this.#waitedMs = 0
    this.#bytes = 0
    return enough
  }
}
