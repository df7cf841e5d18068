import { dirname, join } from 'node:path'
import type { Clock } from '../../base/clock.ts'
import { systemCode } from '../../base/errors.ts'
import { keyId, type ShardKey } from '../../protocol/shard-key.ts'
import type { CacheObserver, FileSystem, MeasuredDisk } from '../../storage/disk-files.ts'
import type { LeasedStore, Reservation } from '../../storage/leased-store.ts'
import type { CacheEntry } from './cache-entry.ts'
import type { DiskSync } from './disk-sync.ts'
import type { EntryTable } from './entry-table.ts'
import type { EntryRecord } from './entry.ts'
import type { MemoryBudget } from './memory-budget.ts'
import type { PartialRecord, Partials } from './partials.ts'
import type { PurgeGuard } from './purge-guard.ts'
import type { RecentManifests } from './recent-manifests.ts'
import { BlockSpool } from './block-spool.ts'
import type { BodySpool, SpoolFile } from './body-spool.ts'
import { Spool, type SpoolOptions } from './spool.ts'
import type { WriteBehind } from './write-behind.ts'
import { WindowBudget } from './write-window.ts'

/** A body being written together with what `commit` needs to know of it. */
export interface StoreTicket<S extends BodySpool = Spool> {
  readonly spool: S
  /** Stores the finished body, `verified` by a manifest or not; false when it could not be stored. The spool can be read before and after. */
  readonly commit: (sha256: string, verified?: boolean, ageMs?: number) => Promise<boolean>
  /** File that holds what the disk has taken of the body, for a reader in another process; undefined when memory does. */
  readonly path: () => string | undefined
  /** The body must not be stored any more, for instance because its key was purged meanwhile. */
  readonly forbidStore: () => void
}

/** The same of a body whose blocks come in any order. */
export interface BlockTicket extends StoreTicket<BlockSpool> {
  /** Keeps what is here of a body that does not come to its end; false when that cannot be. */
  readonly keep: () => Promise<boolean>
}

/** A body that begins with the blocks that an earlier one left. */
export type ExpectedBody = Omit<PartialRecord, 'blocks'>

export interface IntakeOptions {
  /** Directory of the shard files and of `tmp/`. */
  readonly root: string
  readonly fs: FileSystem
  readonly disk: MeasuredDisk
  readonly sync: DiskSync
  /** For bodies that pass through. */
  readonly memory: MemoryBudget
  readonly leased: LeasedStore<CacheEntry>
  readonly partials: Partials
  readonly manifests: RecentManifests
  readonly guard: PurgeGuard
  /** The tags of CIDs, which outlive that their only object is replaced. */
  readonly tags: Pick<EntryTable, 'tagsOf' | 'addTags'>
  readonly index: WriteBehind
  readonly clock: Clock
  /** Prefix of every file name of this run, never used before on this directory. */
  readonly bootId: string
  /** The next access time. */
  readonly tick: () => number
  /** Told of every entry that came in. */
  readonly arrived: (entry: CacheEntry) => void
  readonly isStale: (entry: CacheEntry) => boolean
  /** A stale entry is what super-nodes have. */
  readonly renew: (entry: CacheEntry, verified: boolean, at: number) => void
  /** An entry that is not in the store yet. */
  readonly makeEntry: (id: string, record: EntryRecord) => CacheEntry
  readonly fileOf: (entry: CacheEntry) => string
  readonly observer: CacheObserver
  /** Whether the disk takes new bodies now. */
  readonly takesWrites: () => boolean
  /** Frees so many bytes of a disk that is full; false when it cannot. */
  readonly makeRoom: (bytes: number) => Promise<boolean>
  /** Told of every body that was stored, or why the disk did not. */
  readonly stored: (code: string | undefined) => void
}

/** What a body was given to be stored in. */
interface Room {
  readonly reservation: Reservation | undefined
  readonly file: SpoolFile | undefined
}

/** What every spool needs of the intake. */
type SpoolParts = Pick<SpoolOptions, 'file' | 'disk' | 'memory' | 'windows' | 'makeRoom' | 'onDiskError' | 'onClosed'>

/** Evictions for one operation on a disk that is full; others may take the room each time. */
const MAX_EVICTIONS = 3

/** Whether the disk has no room: of its own, or for us. */
function isFullDisk (error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT'].includes(systemCode(error) ?? '')
}

/** Bodies on their way into the store: room is reserved, a temporary file grows, and becomes the file of an entry. */
export class Intake {
  readonly #options: IntakeOptions
  readonly #windows = new WindowBudget()
  /** One sequence for temporary files and generations: no name is used twice. */
  #sequence = 0
  #openFiles = 0

  constructor (options: IntakeOptions) {
    this.#options = options
  }

  /** Files that bodies and their readers hold open. */
  get openFiles (): number { return this.#openFiles }

  /**
   * Starts a body of at most `capacity` bytes. It is stored if room and disk allow, and can be read either way.
   * @param store false: it goes through memory, the disk is not touched
   * @param grows the body may end long before `capacity`: room is taken as it comes, and it is not stored where that runs out
   */
  async begin (key: ShardKey, capacity: number, store: boolean, grows: boolean): Promise<StoreTicket> {
    const { leased, observer } = this.#options
    const room = await this.#admit(grows ? 0 : capacity, store)
    return this.#ticket(key, room, events => new Spool({
      ...events,
      capacity,
      grows,
      roomFor: bytes => {
        const fits = room.reservation === undefined || leased.grow(room.reservation, bytes)
        if (!fits) observer.storeBypassed('no-room')
        return fits
      }
    }))
  }

  /** Starts a body whose blocks come in any order, with those that an earlier one left. @param store as of {@link begin} */
  async beginBlocks (key: ShardKey, body: ExpectedBody, store: boolean): Promise<BlockTicket> {
    const { size, sha256, blockSize } = body
    const left = store ? await this.#takeUp(keyId(key), body) : undefined
    const room = left ?? await this.#admit(size, store)
    const { keep, ...ticket } = this.#ticket(key, room, events => new BlockSpool({ ...events, size, blockSize, claimed: left?.blocks }))
    return { ...ticket, keep: async () => await keep(() => ({ size, sha256, blockSize, blocks: ticket.spool.stored() })) }
  }

  async #takeUp (id: string, body: ExpectedBody): Promise<Room & Pick<PartialRecord, 'blocks'> | undefined> {
    const { partials, disk, fs, leased, takesWrites } = this.#options
    const left = takesWrites() ? partials.take(id, body) : undefined
    if (left === undefined) return undefined
    const { path, reservation, blocks } = left
    try {
      const handle = await disk.run('open', async () => await fs.open(path, 'r+'))
      this.#openFiles++
      return { reservation, blocks, file: { handle, path } }
    } catch {
      leased.cancel(reservation)
      await disk.remove(path)
      return undefined
    }
  }

  async #admit (bytes: number, store: boolean): Promise<Room> {
    const { leased, partials, takesWrites, observer } = this.#options
    let reservation = store ? leased.reserve(bytes) : undefined
    if (store && reservation === undefined && partials.drop(() => true) > 0) reservation = leased.reserve(bytes)
    const file = reservation === undefined || !takesWrites() ? undefined : await this.#openTemporary(bytes)
    if (reservation !== undefined && file === undefined) this.#giveUp(reservation)
    else if (store && reservation === undefined) observer.storeBypassed('no-room')
    return { reservation, file }
  }

  #ticket<S extends BodySpool> (key: ShardKey, { reservation, file }: Room, open: (events: SpoolParts) => S): StoreTicket<S> & { readonly keep: (record: () => PartialRecord) => Promise<boolean> } {
    const { leased, partials, manifests, guard, tags, disk, memory, index, clock, observer, tick, isStale, renew, arrived, makeEntry, fileOf, makeRoom, stored: ended } = this.#options
    const id = keyId(key)
    let committed: CacheEntry | undefined
    let told = false
    let kept = false
    const forbidden = (): boolean => told || guard.forbids(key.cid)
    const spool = open({
      file,
      disk,
      memory,
      windows: this.#windows,
      makeRoom: async (error, bytes) => isFullDisk(error) && await makeRoom(bytes),
      onDiskError: error => {
        observer.storeBypassed('disk-error')
        ended(systemCode(error) ?? 'UNKNOWN')
      },
      onClosed: async () => {
        if (file !== undefined) this.#openFiles--
        if (kept) return
        if (committed !== undefined) leased.release(committed)
        else if (file !== undefined) await disk.remove(file.path)
        if (reservation !== undefined) leased.cancel(reservation)
      }
    })
    const commit = async (sha256: string, verified = false, ageMs = 0): Promise<boolean> => {
      await spool.flush()
      const stored = spool.storable
      if (stored === undefined || reservation === undefined || reservation.settled || forbidden()) return false
      const same = leased.peek(id)
      if (same !== undefined && isStale(same) && same.sha256 === sha256 && same.size === spool.length) {
        renew(same, verified, clock.now() - ageMs)
        return true
      }
      const entry = makeEntry(id, {
        size: spool.length, sha256, storedAt: Math.max(0, clock.now() - ageMs), lastAccess: tick(), hits: 0, generation: this.#nextGeneration(), verified
      })
      if (!await this.#publish(stored, entry)) return false
      if (forbidden()) {
        await disk.remove(fileOf(entry))
        return false
      }
      // Readers of the spool still hold the file, so the entry starts its life leased.
      leased.lease(entry)
      committed = entry
      const tagged = tags.tagsOf(key.cid)
      leased.commit(reservation, entry)
      tags.addTags(key.cid, tagged)
      index.stored(id, entry)
      manifests.note(entry)
      arrived(entry)
      observer.stored()
      ended(undefined)
      return true
    }
    const keep = async (record: () => PartialRecord): Promise<boolean> => {
      await spool.flush()
      const stored = spool.storable
      if (stored === undefined || reservation === undefined || committed !== undefined || forbidden()) return false
      kept = await partials.keep(id, this.#nextGeneration(), stored.path, stored.handle, reservation, record())
      if (forbidden()) partials.drop(other => other === id)
      return kept && !forbidden()
    }
    const path = (): string | undefined => committed === undefined ? kept ? undefined : spool.storable?.path : fileOf(committed)
    return { spool, commit, keep, path, forbidStore: () => { told = true } }
  }

  async #openTemporary (capacity: number): Promise<SpoolFile | undefined> {
    const { root, bootId, disk, fs, stored } = this.#options
    const directory = join(root, 'tmp')
    const path = join(directory, `${bootId}.${(this.#sequence++).toString(36)}`)
    try {
      const handle = await this.#withRoom(capacity, async () => await disk.run('open', async () => {
        try {
          return await fs.open(path, 'wx+', 0o600)
        } catch (error) {
          if (systemCode(error) !== 'ENOENT') throw error
          // Somebody has emptied the cache directory.
          await fs.mkdir(directory, { recursive: true, mode: 0o700 })
          return await fs.open(path, 'wx+', 0o600)
        }
      }))
      this.#openFiles++
      return { handle, path }
    } catch (error) {
      stored(systemCode(error) ?? 'UNKNOWN')
      return undefined
    }
  }

  /** Evicts and tries again while the disk has no room. */
  async #withRoom<T> (bytes: number, work: () => Promise<T>): Promise<T> {
    for (let evictions = 0; ; evictions++) {
      try {
        return await work()
      } catch (error) {
        if (evictions === MAX_EVICTIONS || !isFullDisk(error) || !await this.#options.makeRoom(bytes)) throw error
      }
    }
  }

  #giveUp (reservation: Reservation): void {
    this.#options.leased.cancel(reservation)
    this.#options.observer.storeBypassed('disk-error')
  }

  /** Makes a finished temporary file the object's file: on disk before it can be seen, see {@link DiskSync}. */
  async #publish (file: SpoolFile, entry: CacheEntry): Promise<boolean> {
    const { disk, fs, sync, observer, fileOf, stored } = this.#options
    const target = fileOf(entry)
    let named = false
    try {
      await this.#withRoom(entry.size, async () => { await sync.bytes(file.handle) })
      await this.#withRoom(entry.size, async () => await disk.run('rename', async () => {
        try {
          await fs.rename(file.path, target)
        } catch (error) {
          if (systemCode(error) !== 'ENOENT') throw error
          sync.forget(target)
          await fs.mkdir(dirname(target), { recursive: true, mode: 0o700 })
          await fs.rename(file.path, target)
        }
      }))
      named = true
      await this.#withRoom(entry.size, async () => { await sync.name(target) })
      return true
    } catch (error) {
      if (named) await disk.remove(target)
      observer.storeBypassed('disk-error')
      stored(systemCode(error) ?? 'UNKNOWN')
      return false
    }
  }

  #nextGeneration (): string {
    return this.#options.bootId + (this.#sequence++).toString(36)
  }
}
