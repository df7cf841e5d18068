import type { Clock } from '../../base/clock.ts'
import type { CacheObserver, FileSystem } from '../../storage/disk-files.ts'
import type { EvictionPolicy } from '../../storage/orders/orders.ts'
import type { CacheHealth } from './cache-health.ts'
import type { SyncPolicy } from './disk-sync.ts'
import type { IndexDb } from './index-db.ts'

export interface DiskStoreOptions {
  /** Directory of the shard files and of `tmp/`; both exist. */
  readonly root: string
  readonly maxBytes: number
  /** Memory for bodies that pass through because the disk refuses them. */
  readonly passThroughBytes: number
  readonly fs: FileSystem
  readonly db: IndexDb
  readonly clock: Clock
  /** Prefix of every generation of this run, `[0-9a-z]{1,16}`, never used before on this directory. */
  readonly bootId: string
  readonly observer: CacheObserver
  /** Free space that is left to others, bytes; 0 by default. */
  readonly minFreeBytes?: number
  readonly health?: Pick<CacheHealth, 'set'>
  /** Whether there is a descriptor for a file of a reader, now or before long; always by default. Must not reject. */
  readonly mayOpen?: () => boolean | Promise<boolean>
  /** Which entries go first, empty; the least recently used by default. */
  readonly eviction?: EvictionPolicy | undefined
  /** What waits for the disk; the bytes of objects by default. */
  readonly sync?: SyncPolicy | undefined
  /** Whether the disk takes new bodies now; always by default. */
  readonly takesWrites?: () => boolean
  /** Time the index may take for a batch, ms; any by default. Later, nothing is stored that it would not know. */
  readonly indexTimeoutMs?: number
}
