/** Over how long a rate is taken, ms: long enough to be read, short enough to follow a viewer that stops. */
const WINDOW_MS = 1_000

/** Bytes per second of late: an average that forgets exponentially. */
export class RateMeter {
  #perMs = 0
  #at: number

  /** @param now monotonic, ms */
  constructor (now: number) {
    this.#at = now
  }

  add (bytes: number, now: number): void {
    this.#decay(now)
    this.#perMs += bytes / WINDOW_MS
  }

  /** Bytes per second. */
  rate (now: number): number {
    this.#decay(now)
    return this.#perMs * 1_000
  }

  #decay (now: number): void {
    this.#perMs *= Math.exp((this.#at - now) / WINDOW_MS)
    this.#at = now
  }
}
