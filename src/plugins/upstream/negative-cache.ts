import { LRUCache } from 'lru-cache'

export interface NegativeCacheOptions {
  /** How long an object is taken for missing, ms; 0 remembers nothing. */
  readonly ttlMs: number
  readonly maxEntries?: number
}

/** Keys remembered by default: about 2 MB, and a flood of made-up names pushes out only other missing ones. */
export const NEGATIVE_ENTRIES = 10_000

/**
 * Objects that every super-node said it does not have, for a short time: a thousand viewers who ask for a shard that is not
 * published yet are one question. Bounded; the key that was not asked for longest goes first.
 */
export class NegativeCache {
  readonly #ttlMs: number
  /** Key to the monotonic ms until which it is missing. */
  readonly #until: LRUCache<string, number>

  constructor ({ ttlMs, maxEntries = NEGATIVE_ENTRIES }: NegativeCacheOptions) {
    this.#ttlMs = ttlMs
    // Expiry is decided from `now`; the clock of lru-cache is not used.
    this.#until = new LRUCache({ max: maxEntries })
  }

  /** Keys held, expired ones included until they are asked for or pushed out. */
  get size (): number { return this.#until.size }

  /** `now` is monotonic ms. */
  remember (key: string, now: number): void {
    if (this.#ttlMs > 0) this.#until.set(key, now + this.#ttlMs)
  }

  isMissing (key: string, now: number): boolean {
    const until = this.#until.get(key)
    if (until === undefined) return false
    if (now < until) return true
    this.#until.delete(key)
    return false
  }

  /** Forgets the keys that match, all by default; returns how many were held. */
  purge (matches: (key: string) => boolean = () => true): number {
    let purged = 0
    for (const key of [...this.#until.keys()]) {
      if (matches(key) && this.#until.delete(key)) purged++
    }
    return purged
  }
}
