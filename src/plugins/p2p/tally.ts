/** What was counted since the start, by a closed list of names. */
export class Tally<Name extends string> {
  readonly #counts = new Map<Name, number>()

  add (name: Name): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1)
  }

  /** Without those that never happened. */
  report (): Record<string, number> {
    return Object.fromEntries(this.#counts)
  }
}
