import { LRUCache } from 'lru-cache'
import { FULL, isFull, Rate } from './rate.ts'

/**
 * A token bucket for every address (by `addressKey`) that has spent something lately, in a table of bounded size. When the table is
 * full, the address that has spent nothing for longest is forgotten and has a full bucket should it come back. Buckets are full
 * again within a second, so that makes no difference while no more addresses than the table holds spend something in a second.
 */
export class AddressBuckets {
  #rate: Rate
  /** When each bucket is full again. */
  #table: LRUCache<string, number>

  /** @param maxAddresses 1 to 1,000,000; room for them is made immediately, some 30 bytes each */
  constructor (perSecond: number, maxAddresses: number) {
    this.#rate = new Rate(perSecond)
    this.#table = new LRUCache({ max: maxAddresses })
  }

  /** Addresses remembered now. */
  get size (): number { return this.#table.size }
  get perSecond (): number { return this.#rate.perSecond }
  get maxAddresses (): number { return this.#table.max }

  /** Whether the address may spend; asking changes nothing, not even who is forgotten first. */
  allows (key: string, now: number): boolean {
    return this.#rate.allows(this.#table.peek(key) ?? FULL, now)
  }

  /** @param tokens more than there are leave a debt that is paid first */
  spend (key: string, now: number, tokens = 1): void {
    this.#table.set(key, this.#rate.spend(this.#table.peek(key) ?? FULL, now, tokens))
  }

  /** Tokens missing in the bucket of the address. */
  missing (key: string, now: number): number {
    return this.#rate.missing(this.#table.peek(key) ?? FULL, now)
  }

  /** Milliseconds until the address may spend. */
  waitMs (key: string, now: number): number {
    return this.#rate.waitMs(this.#table.peek(key) ?? FULL, now)
  }

  /** Forgets full buckets, longest unused first; one that is not full keeps those behind it for a second at most. */
  forgetIdle (now: number): void {
    for (;;) {
      const [oldest] = this.#table.rkeys()
      if (oldest === undefined || !isFull(this.#table.peek(oldest) ?? FULL, now)) return
      this.#table.delete(oldest)
    }
  }

  /** What addresses have spent is kept; of more than `maxAddresses` those that spent last. */
  change (perSecond: number, maxAddresses: number): void {
    this.#rate = new Rate(perSecond)
    if (maxAddresses === this.#table.max) return
    const table = new LRUCache<string, number>({ max: maxAddresses })
    for (const key of this.#table.rkeys()) table.set(key, this.#table.peek(key) ?? FULL)
    this.#table = table
  }
}
