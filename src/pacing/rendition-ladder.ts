/** A rendition and the bits per second it needs. */
export interface Rendition {
  readonly name: string
  readonly min_bps: number
}

/** Up immediately when the share exceeds what the rendition needs by this factor. */
const UP_AT_ONCE = 1.1
/** Down below this part of what it needs: less is within what players buffer. */
const DOWN_BELOW = 0.95
/** Or up after the share has been enough for this long without a break: two or three segments of a stream. */
const UP_AFTER_MS = 10_000

/** What one viewer is told to play. A share that jitters between 95 % and 110 % of a threshold changes it once at most. Time comes in. */
export class RenditionAdvice {
  readonly #ladder: readonly Rendition[]
  #current: Rendition | undefined
  /** For each rung above the current one: since when the share is enough for it. */
  readonly #enoughSince = new Map<Rendition, number>()

  /** @param ladder each rendition needs more than the one before it @throws RangeError when none is there or they are out of order */
  constructor (ladder: readonly Rendition[]) {
    if (ladder.length === 0) throw new RangeError('a rendition ladder has one rendition at least')
    if (ladder.some((rung, index) => rung.min_bps <= (ladder[index - 1]?.min_bps ?? -Infinity))) throw new RangeError('each rendition of a ladder needs more bits per second than the one before it')
    this.#ladder = ladder
  }

  /** The suggestion that stands; undefined before the first `update`. */
  get current (): Rendition | undefined { return this.#current }

  /**
   * The new suggestion, or undefined when it has not changed. Below the lowest rendition the lowest is suggested.
   * @param shareBps bits per second, undefined = unlimited
   * @param now monotonic ms
   */
  update (shareBps: number | undefined, now: number): Rendition | undefined {
    const share = shareBps ?? Infinity
    for (const rung of this.#ladder) {
      if (share < rung.min_bps) this.#enoughSince.delete(rung)
      else if (!this.#enoughSince.has(rung)) this.#enoughSince.set(rung, now)
    }
    const before = this.#current
    this.#current = this.#ladder.findLast(rung => this.#fits(rung, share, now)) ?? this.#ladder[0]
    return this.#current === before ? undefined : this.#current
  }

  #fits (rung: Rendition, share: number, now: number): boolean {
    if (this.#current === undefined) return share >= rung.min_bps
    if (rung.min_bps <= this.#current.min_bps) return share >= rung.min_bps * DOWN_BELOW
    const since = this.#enoughSince.get(rung)
    return share >= rung.min_bps * UP_AT_ONCE || (since !== undefined && now - since >= UP_AFTER_MS)
  }
}
