import type { RamTier } from '../../storage/ram-tier.ts'
import type { CacheEntry } from './cache-entry.ts'

/** Hits after which an object on disk is copied to memory: once may be chance, twice is a pattern. */
const PROMOTE_AT_HITS = 2
/** Copies to memory under way at the same time; further candidates wait for their next hit. */
const MAX_PROMOTIONS = 2

export interface PromotionsOptions {
  readonly ram: RamTier
  /** Reads the body of an entry; false when it does not belong there any more. */
  readonly load: (entry: CacheEntry, into: Buffer) => Promise<boolean>
  readonly mayPromote: () => boolean
}

/** Copies objects that are asked for again and again from the disk to memory. */
export class Promotions {
  readonly #options: PromotionsOptions
  readonly #running = new Set<Promise<void>>()

  constructor (options: PromotionsOptions) {
    this.#options = options
  }

  /** A viewer reads it from the disk. */
  consider (entry: CacheEntry): void {
    const { ram, load, mayPromote } = this.#options
    if (entry.hits < PROMOTE_AT_HITS || this.#running.size >= MAX_PROMOTIONS || !mayPromote()) return
    const work: Promise<void> = ram.load(entry, async into => await load(entry, into))
      .then(() => {}, () => {})
      .finally(() => { this.#running.delete(work) })
    this.#running.add(work)
  }

  /** Resolves when those under way are through. */
  async settled (): Promise<void> {
    await Promise.all(this.#running)
  }
}
