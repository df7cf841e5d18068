import { RelayError } from '../../base/errors.ts'
import { keyId, keysOfCid, parseKeyId, type ShardKey } from '../../protocol/shard-key.ts'
import type { CacheObserver } from '../../storage/disk-files.ts'
import { RamTier, type RamObject } from '../../storage/ram-tier.ts'
import type { CacheEntry } from './cache-entry.ts'
import { factsOf, type CachedObject, type Usability } from './cached-object.ts'
import type { DiskStore } from './disk-store.ts'
import { EntryFreshness, type EntryFreshnessOptions } from './entry-freshness.ts'
import { describe, type EntryDetails } from './entry-details.ts'
import type { IndexDb } from './index-db.ts'
import type { BlockTicket, ExpectedBody, StoreTicket } from './intake.ts'
import { importManifest } from './import-manifest.ts'
import { checkManifest, manifestText } from './manifest.ts'
import { Promotions } from './promotions.ts'
import type { FileLease } from './reader-files.ts'
import { Purges } from './purges.ts'
import type { RecentVideo } from './recent-manifests.ts'
import type { ReconcileReport } from './reconcile.ts'
import { VerifiedReads, type ReadFile, type VerifiedFile, type VerifiedReadsOptions } from './verified-reads.ts'

export type { CachedObject } from './cached-object.ts'

/** Hears of what is asked for and of what comes in. */
export interface CacheWatcher {
  /** Somebody wants to read an object. @param size bytes; undefined when it is not there */
  requested (id: string, size: number | undefined): void
  /** An object came in. @param size bytes */
  stored (id: string, size: number): void
}

export interface ShardCacheOptions {
  readonly disk: DiskStore
  readonly db: IndexDb
  readonly ramBytes: number
  readonly observer: CacheObserver
  /** Settles when index and directory agree. */
  readonly reconciled: Promise<ReconcileReport>
  /** Whether objects may be copied to memory now; always by default. */
  readonly mayPromote?: () => boolean
  /** How long objects are fresh, and stale ones served; for ever by default. */
  readonly freshness?: EntryFreshnessOptions
  /** When hits from disk are verified, and who hears of it; never and nobody by default. */
  readonly verify?: Partial<Pick<VerifiedReadsOptions, 'mode' | 'onRot' | 'onVerified'>> | undefined
}

/** An entry that a reader may get. */
interface FoundEntry extends Usability {
  readonly entry: CacheEntry
}

/** The cache as the rest of the relay sees it: disk with memory in front, one lookup for both. */
export class ShardCache {
  readonly disk: DiskStore
  readonly ram: RamTier
  readonly reconciled: Promise<ReconcileReport>
  readonly reads: VerifiedReads
  readonly purges: Purges
  readonly freshness: EntryFreshness
  readonly #db: IndexDb
  readonly #promotions: Promotions
  #watcher: CacheWatcher | undefined

  constructor (options: ShardCacheOptions) {
    this.disk = options.disk
    this.#db = options.db
    this.freshness = new EntryFreshness(this.disk.table, options.freshness ?? { now: () => 0 })
    this.disk.isStale = entry => this.freshness.isStale(entry)
    this.reconciled = options.reconciled
    void this.disk.guard.until(options.reconciled.catch(() => {}))
    this.ram = new RamTier({
      maxBytes: options.ramBytes,
      onRemoved: (bytes, reason) => options.observer.removed('ram', reason, bytes)
    })
    this.purges = new Purges(this.disk, this.ram)
    this.reads = new VerifiedReads({
      mode: 'never',
      onRot: () => {},
      onVerified: () => {},
      ...options.verify,
      disk: this.disk,
      gone: entry => {
        this.disk.invalidate(entry)
        this.ram.delete(entry.id, 'invalid')
      }
    })
    this.#promotions = new Promotions({ ram: this.ram, load: async (entry, into) => await this.reads.load(entry, into), mayPromote: options.mayPromote ?? (() => true) })
  }

  /** Tells from now on what is asked for, and what is stored. */
  watch (watcher: CacheWatcher): void {
    this.#watcher = watcher
    this.disk.onArrived(({ id, size }) => { watcher.stored(id, size) })
  }

  /** Opens an object; undefined is a miss, also when the disk failed to deliver. */
  async open (key: ShardKey): Promise<CachedObject | undefined> {
    const found = this.#find(key)
    if (found === undefined) return undefined
    const { entry } = found
    const object = this.ram.lease(entry.id, entry.sha256)
    if (object !== undefined) return this.#fromMemory(found, object)
    const unpin = this.disk.pin(entry)
    try {
      const file = await this.reads.admit(entry)
      if (file === undefined) return undefined
      const lease = await this.disk.openFile(entry)
      if (lease === undefined) {
        this.ram.delete(entry.id, 'invalid')
        return undefined
      }
      this.#promotions.consider(entry)
      return this.#fromDisk(found, lease, this.reads.reader(lease, file))
    } finally {
      unpin()
    }
  }

  /**
   * Pins an object for a reader in another process, which opens the file by itself; undefined is a miss. No disk I/O happens here
   * unless the file has to be verified first, or that reader fails and the bytes are read here after all.
   */
  pin (key: ShardKey): CachedObject | undefined | Promise<CachedObject | undefined> {
    const found = this.#find(key)
    if (found === undefined) return undefined
    const { entry } = found
    const file = this.reads.admit(entry)
    if (!(file instanceof Promise)) return this.#pinned(found, file)
    const unpin = this.disk.pin(entry)
    return file.then(verified => verified === undefined || !entry.indexed ? undefined : this.#pinned(found, verified)).finally(unpin)
  }

  /** Whether it is there, and nobody need be asked before it is served. */
  has (key: ShardKey): boolean {
    const entry = this.disk.peek(keyId(key))
    return entry !== undefined && !this.freshness.isOver(entry) && this.freshness.of(entry, key).standing !== 'expired'
  }

  /** Starts writing a body of at most `capacity` bytes; with `store` false it only passes through memory. See {@link Intake.begin} for `grows`. */
  async createSpool (key: ShardKey, capacity: number, store: boolean, grows = false): Promise<StoreTicket> {
    return await this.disk.createSpool(key, capacity, store, grows)
  }

  /** The same for an object whose blocks come in any order, and some of which may be here. */
  async createBlockSpool (key: ShardKey, body: ExpectedBody, store: boolean): Promise<BlockTicket> {
    return await this.disk.createBlockSpool(key, body, store)
  }

  purge (key: ShardKey): boolean {
    return this.purges.one(keyId(key))
  }

  /** @returns how many objects went */
  purgeCid (cid: string): number {
    return keysOfCid(cid).filter(key => this.purge(key)).length
  }

  /**
   * Evicts the objects of CIDs that match, see {@link Purges.purge}.
   * @returns how many objects went
   */
  async purgeMatching (matches: (cid: string) => boolean): Promise<number> {
    return await this.purges.purge({ matches })
  }

  /** Tags of a CID of which there is an object. */
  tagsOf (cid: string): readonly string[] {
    return this.disk.table.tagsOf(cid)
  }

  /** Adds tags to those of a CID of which there is an object. */
  addTags (cid: string, tags: readonly string[]): void {
    this.disk.table.addTags(cid, tags)
  }

  /** @param source tags of a CID of which the first object comes in; one for the cache */
  tagBy (source: (cid: string) => readonly string[]): void {
    const { table } = this.disk
    table.tagPlaces = { ...table.tagPlaces, source }
  }

  details (key: ShardKey): EntryDetails | undefined {
    const entry = this.disk.peek(keyId(key))
    return entry === undefined ? undefined : this.#describe(key, entry)
  }

  /**
   * A page of entries ordered by key, of one CID or of all, after `cursor` (exclusive). `next` is absent on the last page.
   * @throws RelayError RELAY_ERR_CACHE_READ while the disk of the index hangs
   */
  async list (query: { cid?: string | undefined, cursor?: string | undefined, limit: number }): Promise<{ entries: EntryDetails[], next?: string }> {
    const ids = await this.ids({ prefix: query.cid === undefined ? '' : `${query.cid}/`, after: query.cursor ?? '', limit: query.limit + 1 })
    const page = ids.slice(0, query.limit)
    const entries = page.flatMap(id => {
      const entry = this.disk.peek(id)
      const key = parseKeyId(id)
      return entry === undefined || key === undefined ? [] : [this.#describe(key, entry)]
    })
    const last = page.at(-1)
    return ids.length > query.limit && last !== undefined ? { entries, next: last } : { entries }
  }

  /** At most `limit` ids of entries in the order of the index, after one. @throws RelayError RELAY_ERR_CACHE_READ while the disk of the index hangs */
  async ids (query: Parameters<IndexDb['ids']>[0]): Promise<string[]> {
    await this.disk.index.flush()
    // Asking it would hold the one thread there is for everything.
    if (this.disk.index.late) throw new RelayError('RELAY_ERR_CACHE_READ', 'the index of the cache does not answer')
    return this.#db.ids(query)
  }

  /** Videos whose manifest is among those stored or used last, those stored last first, at most `limit`. */
  recentVideos (limit: number): RecentVideo[] {
    return this.disk.manifests.videos(limit)
  }

  /** `cache_manifest.json`, from least to most recently used, without what is stale. */
  exportManifest (): Generator<string> {
    return manifestText(this.disk.table.byLastAccess(), ({ staleSince }) => staleSince === 0)
  }

  /**
   * Takes over files that lie in the cache directory already and that `manifest` lists with the right size and digest.
   * @throws RelayError RELAY_ERR_MANIFEST; nothing is taken over then
   */
  async importManifest (manifest: unknown): Promise<{ adopted: number, known: number, rejected: number }> {
    return await importManifest(this.disk, checkManifest(manifest), this.reconciled)
  }

  /** Waits for background work; the index is on disk afterwards. */
  async flush (): Promise<void> {
    await this.#promotions.settled()
    await this.disk.flush()
  }

  #describe (key: ShardKey, entry: CacheEntry): EntryDetails {
    return describe(key, entry, this.tagsOf(key.cid), this.freshness.lifetimeOf(key))
  }

  #find (key: ShardKey): FoundEntry | undefined {
    const id = keyId(key)
    const entry = this.disk.find(id)
    const isOver = entry !== undefined && this.freshness.isOver(entry)
    this.#watcher?.requested(id, isOver ? undefined : entry?.size)
    if (entry === undefined) return undefined
    if (!isOver) return { entry, ...this.freshness.of(entry, key) }
    this.purges.one(id)
    return undefined
  }

  #fromMemory ({ entry, ...usability }: FoundEntry, object: RamObject): CachedObject {
    let held = true
    return {
      ...factsOf(entry, usability),
      tier: 'ram',
      buffer: object.buffer,
      path: undefined,
      read: async (position, length) => object.buffer.subarray(position, position + length),
      release: () => {
        if (!held) return
        held = false
        this.ram.release(object)
      }
    }
  }

  #fromDisk ({ entry, ...usability }: FoundEntry, lease: FileLease, read: ReadFile): CachedObject {
    return {
      ...factsOf(entry, usability),
      tier: 'disk',
      buffer: undefined,
      path: undefined,
      read,
      release: () => { lease.release() }
    }
  }

  #pinned ({ entry, ...usability }: FoundEntry, verified: VerifiedFile): CachedObject {
    const unpin = this.disk.pin(entry)
    let opening: Promise<FileLease | undefined> | undefined
    let reader: ReadFile | undefined
    return {
      ...factsOf(entry, usability),
      tier: 'disk',
      buffer: undefined,
      path: this.disk.fileOf(entry),
      blocks: verified.blocks,
      read: async (position, length) => {
        opening ??= this.disk.openFile(entry)
        const lease = await opening
        if (lease === undefined) throw new Error(`the file of ${entry.id} cannot be opened`)
        reader ??= this.reads.reader(lease, verified)
        return await reader(position, length)
      },
      release: () => {
        void opening?.then(lease => { lease?.release() })
        unpin()
      }
    }
  }
}
