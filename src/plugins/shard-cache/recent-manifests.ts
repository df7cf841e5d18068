import { LRUCache } from 'lru-cache'
import { parseKeyId } from '../../protocol/shard-key.ts'
import type { CacheEntry } from './cache-entry.ts'

/** Manifests that are remembered. */
const MOST = 1_000

/** A video whose manifest is cached. */
export interface RecentVideo {
  readonly cid: string
  /** When the manifest was stored, ms since the epoch. */
  readonly storedAt: number
}

/** The manifests that were stored or used last, whichever of them the eviction policy would keep longest. */
export class RecentManifests {
  readonly #entries = new LRUCache<string, CacheEntry>({ max: MOST })

  /** An entry was stored, put back or used. */
  note (entry: CacheEntry): void {
    if (entry.id.endsWith('/manifest')) this.#entries.set(entry.id, entry)
  }

  /** Videos whose manifest is cached, those stored last first, at most `limit`. */
  videos (limit: number): RecentVideo[] {
    const cached = Array.from(this.#entries.values()).filter(({ indexed }) => indexed)
    return cached.flatMap(({ id, storedAt }) => {
      const key = parseKeyId(id)
      return key === undefined ? [] : [{ cid: key.cid, storedAt }]
    }).sort((one, other) => other.storedAt - one.storedAt).slice(0, limit)
  }
}
