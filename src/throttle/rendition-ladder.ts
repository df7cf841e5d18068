/** A rendition and the bits per second it needs. */
export interface Rendition {
  readonly name: string
  readonly min_bps: number
}

/** What one viewer is told to play; time comes in. */
export class RenditionAdvice {
  readonly #ladder: readonly Rendition[]
  #current: Rendition | undefined

  /** @param ladder at least one rendition, each needing more than the one before it */
  constructor (ladder: readonly Rendition[]) {
    this.#ladder = ladder
  }

  /** The suggestion that stands; undefined before the first `update`. */
  get current (): Rendition | undefined { return this.#current }

  /** The new suggestion, or undefined when it has not changed. @param shareBps bits per second, undefined = unlimited; @param now monotonic ms */
  update (shareBps: number | undefined, now: number): Rendition | undefined {
    void now
    const fits = this.#ladder.findLast(rung => shareBps === undefined || shareBps >= rung.min_bps) ?? this.#ladder[0]
    if (fits === this.#current) return undefined
    this.#current = fits
    return fits
  }
}
