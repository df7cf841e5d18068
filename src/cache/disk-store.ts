import { dirname, join } from 'node:path'
import type { FileHandle } from 'node:fs/promises'
import type { Clock } from '../clock.ts'
import { systemCode } from '../errors.ts'
import { keyId, type ShardKey } from '../shard/shard-key.ts'
import { MeasuredDisk, type CacheObserver, type FileSystem } from './disk-files.ts'
import { makeEntry, relativeFile, type CacheEntry, type EntryRecord } from './entry.ts'
import type { IndexDb } from './index-db.ts'
import { LeasedLru, type RemovalReason, type Reservation } from './leased-lru.ts'
import { MemoryBudget } from './memory-budget.ts'
import { Spool, type SpoolFile } from './spool.ts'
import { UnlinkQueue } from './unlink-queue.ts'
import { WriteBehind } from './write-behind.ts'

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
}

/** An open cached file; `release` once. */
export interface FileLease {
  readonly entry: CacheEntry
  readonly handle: FileHandle
  release (): void
}

/** A body being written together with what `commit` needs to know of it. */
export interface StoreTicket {
  readonly spool: Spool
  /** Stores the finished body; false when it could not be stored. The spool can be read before and after. */
  readonly commit: (sha256: string) => Promise<boolean>
  /** File that holds the body now, for a reader in another process; undefined when memory does, or not all of it is in the file. */
  readonly path: () => string | undefined
  /** The body must not be stored any more, for instance because its key was purged meanwhile. */
  readonly forbidStore: () => void
}

/**
 * Objects as files, an LRU index in memory, a copy of the index in LMDB. Index and accounting change synchronously; disk I/O comes
 * after and holds no lock. File names are never used twice (see {@link EntryRecord.generation}), so the order in which unlinks
 * and renames reach the disk does not matter.
 */
export class DiskStore {
  readonly disk: MeasuredDisk
  readonly bootId: string
  readonly root: string
  readonly passThrough: MemoryBudget
  readonly index: WriteBehind
  readonly #options: DiskStoreOptions
  readonly #lru: LeasedLru<CacheEntry>
  readonly #unlinks: UnlinkQueue
  #lastAccess = 0
  #sequence = 0
  #openFiles = 0

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
      onError: error => options.observer.diskError('index', systemCode(error) ?? 'UNKNOWN')
    })
    this.#lru = new LeasedLru<CacheEntry>({ maxBytes: options.maxBytes, onFree: (entry, reason) => this.#free(entry, reason) })
  }

  get maxBytes (): number { return this.#lru.maxBytes }
  get usedBytes (): number { return this.#lru.usedBytes }
  get indexedBytes (): number { return this.#lru.indexedBytes }
  get reservedBytes (): number { return this.#lru.reservedBytes }
  get condemnedBytes (): number { return this.#lru.condemnedBytes }
  get count (): number { return this.#lru.count }
  /** Files that readers and fills hold open. */
  get openFiles (): number { return this.#openFiles }

  /**
   * Fills an empty store from the index of an earlier run, in its order of recency; the oldest entries that exceed the bound go.
   * @returns how many entries were restored
   */
  restore (): number {
    const entries: CacheEntry[] = []
    let total = 0
    for (const [id, record] of this.#options.db.load()) {
      entries.push(makeEntry(id, record, false))
      total += record.size
    }
    entries.sort((a, b) => a.lastAccess - b.lastAccess)
    for (const entry of entries) {
      if (total > this.maxBytes) {
        total -= entry.size
        this.index.removed(entry.id)
        this.#options.observer.removed('disk', 'capacity', entry.size)
        continue
      }
      this.#lru.restore(entry)
      this.#lastAccess = entry.lastAccess
    }
    return this.count
  }

  /** Takes over a file that is in place already; false when it is known or does not fit. */
  adopt (id: string, record: EntryRecord): boolean {
    const entry = makeEntry(id, record, true)
    if (!this.#lru.restore(entry)) return false
    this.index.stored(id, entry)
    return true
  }

  /** Looks an object up as a reader does: it becomes the most recently used, and the hit counts. */
  find (id: string): CacheEntry | undefined {
    const entry = this.#lru.get(id)
    if (entry === undefined) return undefined
    entry.lastAccess = this.#tick()
    entry.hits++
    this.index.touched(id, entry)
    return entry
  }

  peek (id: string): CacheEntry | undefined {
    return this.#lru.peek(id)
  }

  oldestFirst (): Generator<CacheEntry, void> {
    return this.#lru.oldestFirst()
  }

  fileOf (entry: CacheEntry): string {
    return join(this.root, relativeFile(entry.id, entry.generation))
  }

  /**
   * Opens the file of an entry and pins it until released.
   * @returns undefined when the file is missing, has another size or cannot be opened; the entry is then gone from the cache
   */
  async openFile (entry: CacheEntry): Promise<FileLease | undefined> {
    this.#lru.lease(entry)
    let handle: FileHandle
    try {
      handle = await this.disk.run('open', () => this.#options.fs.open(this.fileOf(entry), 'r'))
    } catch (error) {
      // Out of descriptors says nothing about the file: the object stays and this request goes to the origin.
      if (systemCode(error) !== 'EMFILE' && systemCode(error) !== 'ENFILE') this.invalidate(entry)
      this.#lru.release(entry)
      return undefined
    }
    this.#openFiles++
    let released = false
    const release = (): void => {
      if (released) return
      released = true
      void handle.close().catch(() => {}).finally(() => {
        this.#openFiles--
        this.#lru.release(entry)
      })
    }
    const size = await handle.stat().then(stat => stat.size, () => -1)
    if (size === entry.size) return { entry, handle, release }
    this.#options.observer.diskError('open', 'SIZE_MISMATCH')
    this.invalidate(entry)
    release()
    return undefined
  }

  /** Pins an entry without opening it; the returned function lets go, once. */
  pin (entry: CacheEntry): () => void {
    this.#lru.lease(entry)
    let held = true
    return () => {
      if (held) this.#lru.release(entry)
      held = false
    }
  }

  /** Drops an entry whose file turned out to be missing or damaged. */
  invalidate (entry: CacheEntry): void {
    if (this.#lru.peek(entry.id) === entry) this.#delete(entry, 'invalid')
  }

  /** Removes an object; readers that hold it finish. False when there is none. */
  purge (id: string): boolean {
    const entry = this.#lru.peek(id)
    if (entry === undefined) return false
    this.#delete(entry, 'purge')
    return true
  }

  /** Changes the bound; evicts down to it at once, except what readers hold. */
  resize (maxBytes: number): void {
    this.#lru.resize(maxBytes)
  }

  /**
   * Starts a body of at most `capacity` bytes. It is stored if room and disk allow, and can be read either way.
   * @param store false: it goes through memory, the disk is not touched
   */
  async createSpool (key: ShardKey, capacity: number, store = true): Promise<StoreTicket> {
    const id = keyId(key)
    const reservation = store ? this.#lru.reserve(capacity) : undefined
    const file = reservation === undefined ? undefined : await this.#openTemporary()
    if (reservation !== undefined && file === undefined) this.#giveUp(reservation)
    else if (store && reservation === undefined) this.#options.observer.storeBypassed('no-room')
    let committed: CacheEntry | undefined
    let forbidden = false
    const spool = new Spool({
      capacity,
      file,
      disk: this.disk,
      memory: this.passThrough,
      onDiskError: () => this.#options.observer.storeBypassed('disk-error'),
      onClosed: async () => {
        if (file !== undefined) this.#openFiles--
        if (committed !== undefined) this.#lru.release(committed)
        else if (file !== undefined) await this.disk.remove(file.path)
        if (reservation !== undefined) this.#lru.cancel(reservation)
      }
    })
    const commit = async (sha256: string): Promise<boolean> => {
      const stored = spool.storable
      if (stored === undefined || reservation === undefined || reservation.settled || forbidden) return false
      const now = this.#options.clock.now()
      const entry = makeEntry(id, {
        size: spool.length, sha256, storedAt: now, lastAccess: this.#tick(), hits: 0, generation: this.#nextGeneration()
      }, true)
      if (!await this.#publish(stored, entry)) return false
      if (forbidden) {
        await this.disk.remove(this.fileOf(entry))
        return false
      }
      // Readers of the spool still hold the file, so the entry starts its life leased.
      this.#lru.lease(entry)
      committed = entry
      this.#lru.commit(reservation, entry)
      this.index.stored(id, entry)
      return true
    }
    const path = (): string | undefined => committed === undefined ? spool.storable?.path : this.fileOf(committed)
    return { spool, commit, path, forbidStore: () => { forbidden = true } }
  }

  /** Waits for index writes and removals under way. */
  async flush (): Promise<void> {
    await this.index.flush()
    await this.#unlinks.drained()
  }

  async #openTemporary (): Promise<SpoolFile | undefined> {
    const path = join(this.root, 'tmp', `${this.bootId}.${(this.#sequence++).toString(36)}`)
    try {
      const handle = await this.disk.run('open', () => this.#options.fs.open(path, 'wx+'))
      this.#openFiles++
      return { handle, path }
    } catch {
      return undefined
    }
  }

  #giveUp (reservation: Reservation): void {
    this.#lru.cancel(reservation)
    this.#options.observer.storeBypassed('disk-error')
  }

  /** Makes a finished temporary file the object's file: on disk before it can be seen (fsync, then rename). */
  async #publish (file: SpoolFile, entry: CacheEntry): Promise<boolean> {
    const target = this.fileOf(entry)
    try {
      await this.disk.run('fsync', () => file.handle.datasync())
      await this.disk.run('rename', async () => {
        try {
          await this.#options.fs.rename(file.path, target)
        } catch (error) {
          if (systemCode(error) !== 'ENOENT') throw error
          await this.#options.fs.mkdir(dirname(target), { recursive: true })
          await this.#options.fs.rename(file.path, target)
        }
      })
      return true
    } catch {
      this.#options.observer.storeBypassed('disk-error')
      return false
    }
  }

  #delete (entry: CacheEntry, reason: RemovalReason): void {
    this.#lru.delete(entry.id, reason)
    // Gone from the index at once, also while readers keep the bytes: a crash now must not bring it back.
    this.index.removed(entry.id)
  }

  #free (entry: CacheEntry, reason: RemovalReason): void {
    this.#options.observer.removed('disk', reason, entry.size)
    if (reason === 'capacity') this.index.removed(entry.id)
    this.#unlinks.add(this.fileOf(entry))
  }

  /** Access times that strictly rise, so that order survives equal clock readings and a clock set back (1 µs steps). */
  #tick (): number {
    this.#lastAccess = Math.max(this.#options.clock.now(), this.#lastAccess + 0.001)
    return this.#lastAccess
  }

  #nextGeneration (): string {
    return this.bootId + (this.#sequence++).toString(36)
  }
}
