/** An amount of something that may be taken at the same time and is given back: bounded, and nobody waits. */
export class Allowance {
  readonly #most: number
  #taken = 0

  constructor (most: number) {
    this.#most = most
  }

  get taken (): number { return this.#taken }

  /** False, and nothing is taken, when it would be more than there is. */
  take (amount = 1): boolean {
    if (this.#taken + amount > this.#most) return false
    this.#taken += amount
    return true
  }

  giveBack (amount = 1): void {
    if (amount > this.#taken) throw new Error(`more is given back than was taken${this.#taken === 0 ? ': nothing was taken' : ''}`)
    this.#taken -= amount
  }
}
