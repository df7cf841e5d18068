import type { Lifetime } from '../../protocol/freshness.ts'
import type { ShardKey } from '../../protocol/shard-key.ts'
import type { CacheEntry } from './cache-entry.ts'

/** What operators see of an entry. */
export interface EntryDetails {
  readonly cid: string
  readonly part: ShardKey['part']
  readonly size: number
  readonly sha256: string
  /** Whether it was compared with a believed manifest. */
  readonly verified: boolean
  /** Wall clock, ms since the epoch. */
  readonly storedAt: number
  readonly lastAccess: number
  readonly hits: number
  readonly readers: number
  /** When a soft purge asked for it to be fetched again, ms since the epoch; null when none did. */
  readonly staleSince: number | null
  /** When it is not fresh any more, by the rules in force, ms since the epoch; null when it never changes. */
  readonly freshUntil: number | null
  /** Of its CID. */
  readonly tags: string[]
}

export function describe (key: ShardKey, entry: CacheEntry, tags: readonly string[], lifetime: Lifetime | undefined): EntryDetails {
  const { size, sha256, verified, hits, leases } = entry
  return { cid: key.cid, part: key.part, size, sha256, verified, storedAt: Math.floor(entry.storedAt), lastAccess: Math.floor(entry.lastAccess), hits, readers: leases, staleSince: entry.staleSince === 0 ? null : entry.staleSince, freshUntil: lifetime === undefined ? null : Math.floor(entry.storedAt + lifetime.ttlMs), tags: [...tags] }
}
