import { DATA_SHARDS, TOTAL_SHARDS } from '../../protocol/shard-key.ts'

/** Siblings asked for beside those that are needed, where they come from super-nodes: one that is late is not waited for. */
export const SPARE_SIBLINGS = 1

/**
 * Which of the 13 siblings of a shard are brought in to rebuild it: those of the cache first, then those of super-nodes, until ten are there. At most
 * {@link DATA_SHARDS} + {@link SPARE_SIBLINGS} are asked for at the same time, each once, but for a spare that came too late and
 * takes the place of one that is lost.
 */
export class SiblingChoice {
  readonly #cached: ReadonlySet<number>
  /** In the order in which they are asked for. */
  readonly #waiting: number[]
  readonly #asked = new Set<number>()
  readonly #whole = new Set<number>()

  /** @param wanted the shard that is to be rebuilt @param cached whether the cache has a sibling */
  constructor (wanted: number, cached: (shard: number) => boolean) {
    const siblings = Array.from({ length: TOTAL_SHARDS }, (_, shard) => shard).filter(shard => shard !== wanted)
    this.#cached = new Set(siblings.filter(cached))
    // Within each kind data shards come first: of all ten, parity is made without solving anything.
    this.#waiting = siblings.toSorted((a, b) => Number(this.#cached.has(b)) - Number(this.#cached.has(a)) || a - b)
  }

  /** Those that were asked for and are neither whole nor lost. */
  get asked (): number { return this.#asked.size }
  get done (): boolean { return this.#whole.size >= DATA_SHARDS }
  /** Whether ten cannot be had any more. */
  get hopeless (): boolean { return this.#whole.size + this.#asked.size + this.#waiting.length < DATA_SHARDS }

  /** The siblings to ask for now. */
  next (): number[] {
    const now: number[] = []
    if (this.done || this.hopeless) return now
    const missing = DATA_SHARDS - this.#whole.size
    for (;;) {
      const spares = [...this.#asked].every(shard => this.#cached.has(shard)) ? 0 : SPARE_SIBLINGS
      const shard = this.#asked.size < missing + spares ? this.#waiting.shift() : undefined
      if (shard === undefined) return now
      this.#asked.add(shard)
      now.push(shard)
    }
  }

  /** It is there, and verified. @returns whether it is needed; otherwise it may be asked for again in place of one that is lost */
  arrived (shard: number): boolean {
    if (!this.#asked.delete(shard)) return false
    if (this.done) {
      this.#waiting.unshift(shard)
      return false
    }
    this.#whole.add(shard)
    return true
  }

  /** It cannot be had, or no longer. */
  lost (shard: number): void {
    this.#asked.delete(shard)
    this.#whole.delete(shard)
  }
}
