/** The latest items, oldest first, at most so many: what a page that stays open for weeks may hold. */
export class Ring<T> {
  readonly #max: number
  #items: T[] = []

  constructor (max: number) {
    this.#max = max
  }

  get size (): number { return this.#items.length }
  get last (): T | undefined { return this.#items.at(-1) }
  /** Not to be changed; another one after each push. */
  get items (): readonly T[] { return this.#items }

  push (...items: readonly T[]): void {
    this.#items = [...this.#items, ...items].slice(-this.#max)
  }

  clear (): void { this.#items = [] }
}
