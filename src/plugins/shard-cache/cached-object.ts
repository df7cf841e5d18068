import type { Lifetime, FreshnessStanding } from '../../protocol/freshness.ts'
import type { CacheTier } from '../../storage/disk-files.ts'
import type { CacheEntry } from './cache-entry.ts'

/** A cached object opened for reading; `release` once. */
export interface CachedObject {
  readonly size: number
  /** SHA-256, lower-case hex. */
  readonly sha256: string
  /** Whether it was compared with a believed manifest. */
  readonly verified: boolean
  readonly tier: CacheTier
  /** Milliseconds since the Unix epoch. */
  readonly storedAt: number
  /** When a soft purge asked for it to be fetched again, ms since the epoch; 0 when none did. */
  readonly staleSince: number
  /** How long it is fresh; undefined for what never changes. */
  readonly lifetime: Lifetime | undefined
  /** What is `expired` is asked for anew before anybody gets it. */
  readonly standing: FreshnessStanding
  /** Whether it may be served when asking for it fails. */
  readonly ifError: boolean
  /** The whole body, when it is in memory. */
  readonly buffer: Buffer | undefined
  /** File with the whole body, for a reader in another process; undefined when the object was not opened for one. */
  readonly path: string | undefined
  /** SHA-256 of the blocks of that file, by which its reader verifies each; undefined where that is not asked for. */
  readonly blocks?: Uint8Array | undefined
  /**
   * Bytes at `position`, at least one and at most `length`.
   * @param into memory that they may be read into, instead of new memory
   * @throws Error when the disk fails; the entry is then gone from the cache
   */
  read (position: number, length: number, into?: Buffer): Promise<Uint8Array>
  release (): void
}

/** How an entry may be used. */
export type Usability = Pick<CachedObject, 'lifetime' | 'standing' | 'ifError'>

/** What is known of an object wherever its bytes come from. */
export function factsOf ({ size, sha256, verified, storedAt, staleSince }: CacheEntry, usability: Usability): Pick<CachedObject, 'size' | 'sha256' | 'verified' | 'storedAt' | 'staleSince' | keyof Usability> {
  return { size, sha256, verified, storedAt, staleSince, ...usability }
}
