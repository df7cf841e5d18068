/** Tokens are bytes, time is monotonic milliseconds. One number holds the state: when the bucket is full again (the GCRA of ITU-T I.371). */
export class TokenBucket {
  /** Bytes a millisecond, above 0. */
  #rate: number
  /** Bytes it holds at most. */
  #depth: number
  #fullAt: number

  /** A full bucket. */
  constructor (rate: number, depth: number, now: number) {
    this.#rate = rate
    this.#depth = depth
    this.#fullAt = now
  }

  get rate (): number { return this.#rate }
  get depth (): number { return this.#depth }

  /** Bytes it holds; below 0 never while only held bytes are spent. */
  level (now: number): number {
    return this.#depth - Math.max(0, this.#fullAt - now) * this.#rate
  }

  /** When it holds `bytes`, at most its depth. */
  holdsAt (bytes: number): number {
    return this.#fullAt - (this.#depth - bytes) / this.#rate
  }

  spend (bytes: number, now: number): void {
    this.#fullAt = Math.max(this.#fullAt, now) + bytes / this.#rate
  }

  /** Spent bytes come back. */
  refund (bytes: number): void {
    this.#fullAt -= bytes / this.#rate
  }

  /** A new rate or depth adds no tokens; those beyond the new depth are lost. */
  configure (rate: number, depth: number, now: number): void {
    const level = Math.min(this.level(now), depth)
    this.#rate = rate
    this.#depth = depth
    this.#fullAt = now + (depth - level) / rate
  }
}
