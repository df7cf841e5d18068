import { join } from 'node:path'
import { systemCode } from '../../base/errors.ts'
import { cidOfId, type ShardKey } from '../../protocol/shard-key.ts'
import { MeasuredDisk } from '../../storage/disk-files.ts'
import { LeasedStore, type RemovalReason } from '../../storage/leased-store.ts'
import { makeOrder, type QueueOrder } from '../../storage/orders/orders.ts'
import type { CacheEntry } from './cache-entry.ts'
import type { DiskStoreOptions } from './disk-store-options.ts'
import { DiskSync } from './disk-sync.ts'
import { EntryTable } from './entry-table.ts'
import { relativeFile, type EntryRecord } from './entry.ts'
import { Intake, type BlockTicket, type ExpectedBody, type StoreTicket } from './intake.ts'
import { MemoryBudget } from './memory-budget.ts'
import { Partials } from './partials.ts'
import { PurgeGuard } from './purge-guard.ts'
import { ReaderFiles, type FileLease } from './reader-files.ts'
import { RecentManifests } from './recent-manifests.ts'
import { restoreEntries } from './restore-entries.ts'
import { UnlinkQueue } from './unlink-queue.ts'
import { WriteBehind } from './write-behind.ts'

/** Evicted when the disk is full, as a share of what there is: one eviction for many bodies. */
const ROOM_SHARE = 1 / 64
/** Share of the bound from which a disk that sets it is called full, and the time until it is not any more, ms: room comes and goes by the second. */
const SHORT_SHARE = 0.95
const CALM_MS = 60_000

/**
 * Objects as files, an index in memory, a copy of the index in LMDB. Index and accounting change synchronously; disk I/O comes
 * after and holds no lock. File names are never used twice (see {@link EntryRecord.generation}), so the order in which unlinks
 * and renames reach the disk does not matter.
 */
export class DiskStore {
  readonly disk: MeasuredDisk
  readonly bootId: string
  readonly root: string
  readonly passThrough: MemoryBudget
  readonly index: WriteBehind
  readonly partials: Partials
  readonly manifests = new RecentManifests()
  readonly guard = new PurgeGuard()
  readonly table = new EntryTable()
  /** Whether what super-nodes send may make an entry fresh again; the cache knows more of that. */
  isStale = (entry: CacheEntry): boolean => entry.staleSince > 0
  readonly #options: DiskStoreOptions
  readonly #order: QueueOrder<CacheEntry>
  readonly #leased: LeasedStore<CacheEntry>
  readonly #unlinks: UnlinkQueue
  readonly #intake: Intake
  readonly #readers: ReaderFiles
  readonly #arrivals: ((entry: CacheEntry) => void)[] = []
  #makingRoom: Promise<boolean> | undefined
  #configuredBytes: number
  #freeBytes: number | undefined
  /** When the disk was short of room last, monotonic ms. */
  #shortAt = -Infinity
  #lastAccess = 0

  constructor (options: DiskStoreOptions) {
    this.#options = options
    this.root = options.root
    this.bootId = options.bootId
    this.disk = new MeasuredDisk(options.fs, options.observer, options.clock.monotonic)
    this.#unlinks = new UnlinkQueue(this.disk)
    this.passThrough = new MemoryBudget(options.passThroughBytes)
    this.index = new WriteBehind(options.db, {
      batchSize: 5_000,
      maxPending: 50_000,
      ...options.indexTimeoutMs === undefined ? {} : { timeoutMs: options.indexTimeoutMs },
      onError: error => {
        const code = systemCode(error) ?? 'UNKNOWN'
        options.observer.diskError('index', code)
        options.health?.set('index', true, { code })
      },
      onWritten: () => { options.health?.set('index', false) }
    })
    this.#readers = new ReaderFiles({
      disk: this.disk,
      mayOpen: options.mayOpen ?? (() => true),
      fileOf: entry => this.fileOf(entry),
      invalid: entry => { this.invalidate(entry) },
      mismatch: () => { options.observer.diskError('open', 'SIZE_MISMATCH') }
    })
    this.#configuredBytes = options.maxBytes
    this.#order = makeOrder(options.eviction ?? 'lru', this.table)
    this.#leased = new LeasedStore<CacheEntry>({ maxBytes: options.maxBytes, order: this.#order, onFree: (entry, reason) => this.#free(entry, reason) })
    const sync = new DiskSync({ policy: options.sync ?? 'data', root: options.root, disk: this.disk })
    this.partials = new Partials({ root: options.root, fs: options.fs, disk: this.disk, sync, leased: this.#leased })
    const parts = { disk: this.disk, sync, memory: this.passThrough, leased: this.#leased, partials: this.partials, manifests: this.manifests, index: this.index }
    this.#intake = new Intake({
      ...options,
      ...parts,
      guard: this.guard,
      tags: this.table,
      takesWrites: () => !this.index.late && (options.takesWrites?.() ?? true),
      makeRoom: async bytes => await (this.#makingRoom ??= this.#makeRoom(bytes).finally(() => { this.#makingRoom = undefined })),
      stored: code => { options.health?.set('failing', code !== undefined, { code }) },
      tick: () => this.#tick(),
      arrived: entry => { this.#arrived(entry) },
      isStale: entry => this.isStale(entry),
      renew: (entry, verified, at) => { this.renew(entry, verified, at) },
      makeEntry: (id, record) => this.table.make(id, record, true),
      fileOf: entry => this.fileOf(entry)
    })
  }

  get configuredBytes (): number { return this.#configuredBytes }
  /** The bound in force: what is configured, or less while the disk is short of room. */
  get maxBytes (): number { return this.#leased.maxBytes }
  /** Free space of the disk at the last look, bytes. */
  get freeBytes (): number | undefined { return this.#freeBytes }
  get usedBytes (): number { return this.#leased.usedBytes }
  get indexedBytes (): number { return this.#leased.indexedBytes }
  get pinnedBytes (): number { return this.#leased.pinnedBytes }
  get reservedBytes (): number { return this.#leased.reservedBytes }
  get condemnedBytes (): number { return this.#leased.condemnedBytes }
  get count (): number { return this.#leased.count }
  /** Files that readers and fills hold open. */
  get openFiles (): number { return this.#readers.open + this.#intake.openFiles }

  /**
   * Fills an empty store from the index of an earlier run, in its order of recency; the oldest entries that exceed the bound go. Returns how many are kept.
   * @param progress told what share is done, 0 to 1, between turns of the event loop; what it throws ends this
   */
  async restore (progress: (share: number) => void = () => {}): Promise<number> {
    const bytes = await restoreEntries(this.#options.db, this.table, this.#options.clock.now(), {
      progress,
      maxBytes: this.maxBytes,
      keep: slot => {
        this.#order.putBack(slot)
        if (this.table.isManifest(slot)) this.manifests.note(this.table.valueAt(slot))
      },
      drop: ({ id, size }) => {
        this.index.removed(id)
        this.#options.observer.removed('disk', 'capacity', size)
      }
    })
    this.#leased.putBack(bytes)
    this.#lastAccess = this.table.lastAccess
    return this.count
  }

  /** @param listener told of every entry that came in: stored, or taken over */
  onArrived (listener: (entry: CacheEntry) => void): void {
    this.#arrivals.push(listener)
  }

  /** Takes over a file that is in place already; false when it is known or does not fit. */
  adopt (id: string, record: EntryRecord): boolean {
    if (this.guard.forbidsFile(cidOfId(id))) return false
    const entry = this.table.make(id, record, true)
    if (!this.#leased.restore(entry)) return false
    this.index.stored(id, entry)
    this.manifests.note(entry)
    this.#arrived(entry)
    return true
  }

  /** Looks an object up as a reader does: that counts as a use and a hit. */
  find (id: string): CacheEntry | undefined {
    const entry = this.#leased.get(id)
    if (entry === undefined) return undefined
    entry.lastAccess = this.#tick()
    entry.hits++
    this.index.touched(id, entry)
    this.manifests.note(entry)
    return entry
  }

  peek (id: string): CacheEntry | undefined {
    return this.#leased.peek(id)
  }

  /** Entries, as far as the policy can tell the first victim first. */
  firstOut (): Generator<CacheEntry, void> {
    return this.#leased.firstOut()
  }

  fileOf (entry: CacheEntry): string {
    return join(this.root, relativeFile(entry.id, entry.generation))
  }

  /**
   * Opens the file of an entry and pins it until released.
   * @returns undefined when the file is missing, has another size or cannot be opened; the entry is then gone from the cache
   */
  async openFile (entry: CacheEntry): Promise<FileLease | undefined> {
    this.#leased.lease(entry)
    const file = await this.#readers.join(entry)
    if (file === undefined) {
      this.#leased.release(entry)
      return undefined
    }
    let released = false
    const release = (): void => {
      if (released) return
      released = true
      void this.#readers.leave(entry, file).then(() => { this.#leased.release(entry) })
    }
    return { entry, handle: file.handle, release }
  }

  /** Pins an entry without opening it; the returned function lets go, once. */
  pin (entry: CacheEntry): () => void {
    this.#leased.lease(entry)
    let held = true
    return () => {
      if (held) this.#leased.release(entry)
      held = false
    }
  }

  /** Drops an entry whose file turned out to be missing or damaged. */
  invalidate (entry: CacheEntry): void {
    if (entry.indexed) this.#delete(entry, 'invalid')
  }

  /** An entry was compared with a believed manifest, and is what that says. */
  verified (entry: CacheEntry): void {
    entry.verified = true
    this.index.touched(entry.id, entry)
  }

  /** Super-nodes have the bytes of an entry still. @param verified whether a believed manifest says so @param at when they had them, ms since the epoch */
  renew (entry: CacheEntry, verified: boolean, at = this.#options.clock.now()): void {
    entry.renew(Math.max(0, at), verified)
    this.index.stored(entry.id, entry)
  }

  /** Has evictions pass over an entry, or not any more. */
  keep (entry: CacheEntry, on: boolean): void {
    this.#leased.pin(entry, on)
  }

  /** Removes an object; readers that hold it finish. False when there is none. */
  purge (id: string): boolean {
    this.partials.drop(kept => kept === id)
    const entry = this.#leased.peek(id)
    if (entry === undefined) return false
    this.#delete(entry, 'purge')
    return true
  }

  /** Changes the bound; evicts down to it immediately, except what readers hold. */
  resize (maxBytes: number): void {
    this.#configuredBytes = maxBytes
    this.#bind()
  }

  /** Looks how much room the disk has, and keeps less than is configured while that is too little. @throws what the disk says */
  async lookAtSpace (): Promise<void> {
    const { bavail, bsize } = await this.#options.fs.statfs(this.root)
    this.#freeBytes = bavail * bsize
    this.#bind()
  }

  #bind (): void {
    const { minFreeBytes = 0, health, clock } = this.#options
    // What waits to be unlinked is free as soon as it is.
    const room = this.#freeBytes === undefined || minFreeBytes === 0
      ? Infinity
      : this.indexedBytes + this.condemnedBytes + this.#unlinks.bytes + this.#freeBytes - minFreeBytes
    const bound = Math.max(0, Math.min(this.#configuredBytes, room))
    if (bound !== this.maxBytes) {
      this.#leased.resize(bound)
      this.partials.trim()
    }
    const now = clock.monotonic()
    if (bound < this.#configuredBytes && this.usedBytes >= bound * SHORT_SHARE) this.#shortAt = now
    health?.set('full', now - this.#shortAt < CALM_MS, { freeBytes: this.#freeBytes, minFreeBytes, keptBytes: this.indexedBytes })
  }

  /** Evicts for a disk that is full although the bound is not reached; false when nothing could go. */
  async #makeRoom (bytes: number): Promise<boolean> {
    this.#shortAt = this.#options.clock.monotonic()
    this.#options.health?.set('full', true, { keptBytes: this.indexedBytes })
    if (this.#leased.evict(Math.max(bytes, this.indexedBytes * ROOM_SHARE)) === 0) return false
    await this.#unlinks.drained()
    return true
  }

  /** Starts a body, see {@link Intake.begin}. */
  async createSpool (key: ShardKey, capacity: number, store = true, grows = false): Promise<StoreTicket> {
    return await this.#intake.begin(key, capacity, store, grows)
  }

  /** Starts a body whose blocks come in any order, see {@link Intake.beginBlocks}. */
  async createBlockSpool (key: ShardKey, body: ExpectedBody, store = true): Promise<BlockTicket> {
    return await this.#intake.beginBlocks(key, body, store)
  }

  /** Waits for index writes and removals under way. */
  async flush (): Promise<void> {
    await this.index.flush()
    await Promise.all([this.#unlinks.drained(), this.partials.drained()])
  }

  #delete (entry: CacheEntry, reason: RemovalReason): void {
    this.#leased.delete(entry.id, reason)
    // Gone from the index immediately, also while readers keep the bytes: a crash now must not bring it back.
    this.index.removed(entry.id)
  }

  #arrived (entry: CacheEntry): void {
    for (const listener of this.#arrivals) listener(entry)
  }

  #free (entry: CacheEntry, reason: RemovalReason): void {
    this.#options.observer.removed('disk', reason, entry.size)
    if (reason === 'capacity') this.index.removed(entry.id)
    this.#unlinks.add(this.fileOf(entry), entry.size)
  }

  /** Access times that strictly rise, so that order survives equal clock readings and a clock set back (1 µs steps). */
  #tick (): number {
    this.#lastAccess = Math.max(this.#options.clock.now(), this.#lastAccess + 0.001)
    return this.#lastAccess
  }
}
