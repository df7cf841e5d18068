/** Popularity of videos: rank k is asked for in proportion to 1 / (k + 1)^exponent. */
export class Zipf {
  /** Probability of a rank up to and including each. */
  readonly #upTo: Float64Array

  /**
   * @param ranks objects, 1 to 10,000,000
   * @param exponent 0 asks for all alike; web and video traces have 0.6 to 1.2 (Breslau et al., INFOCOM 1999)
   * @throws RangeError for anything else
   */
  constructor (ranks: number, exponent: number) {
    if (!Number.isInteger(ranks) || ranks < 1 || ranks > 10_000_000) throw new RangeError(`a Zipf distribution has 1 to 10,000,000 ranks, not ${ranks}`)
    if (!(exponent >= 0 && exponent <= 10)) throw new RangeError(`a Zipf exponent is 0 to 10, not ${exponent}`)
    this.#upTo = new Float64Array(ranks)
    let total = 0
    for (let rank = 0; rank < ranks; rank++) {
      total += (rank + 1) ** -exponent
      this.#upTo[rank] = total
    }
    for (let rank = 0; rank < ranks; rank++) this.#upTo[rank] = (this.#upTo[rank] ?? 0) / total
    this.#upTo[ranks - 1] = 1
  }

  get ranks (): number { return this.#upTo.length }

  /** Share of requests for a rank, 0 to 1. */
  probability (rank: number): number {
    return (this.#upTo[rank] ?? 0) - (rank === 0 ? 0 : this.#upTo[rank - 1] ?? 0)
  }

  /** @param random in [0, 1) @returns a rank, 0 is the most popular */
  rank (random: number): number {
    let low = 0
    let high = this.#upTo.length - 1
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#upTo[middle] ?? 1) > random) high = middle
      else low = middle + 1
    }
    return low
  }
}
