import { LRUCache } from 'lru-cache'

/** Shards remembered; the one that was not asked about longest goes first. */
export const MAX_DOUBTS = 1_000
/** Time for which a doubt lasts, and after which one that was unfounded may come up again, ms: as long as who sent wrong blocks is not asked. */
export const DOUBT_MS = 600_000

/**
 * Shards of which the hashes of blocks may be wrong and not what super-nodes send: they are verified as a whole, which tells. An unfounded doubt is not
 * raised again for a while, lest liars have a shard brought in as a whole again and again.
 */
export class BlockDoubts {
  readonly #doubts = new LRUCache<string, { readonly open: boolean, readonly until: number }>({ max: MAX_DOUBTS })

  get size (): number { return this.#doubts.size }

  /** @param id of a shard's key @param now monotonic ms @returns whether it is in doubt from now on */
  raise (id: string, now: number): boolean {
    const doubt = this.#doubts.get(id)
    if (doubt !== undefined && now < doubt.until) return doubt.open
    this.#doubts.set(id, { open: true, until: now + DOUBT_MS })
    return true
  }

  has (id: string, now: number): boolean {
    const doubt = this.#doubts.get(id)
    return doubt?.open === true && now < doubt.until
  }

  /** The hashes are right. */
  dispel (id: string, now: number): void {
    this.#doubts.set(id, { open: false, until: now + DOUBT_MS })
  }
}
