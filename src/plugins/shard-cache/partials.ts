import { join } from 'node:path'
import { blockCount } from '../../protocol/manifest-blocks.ts'
import { parseKeyId } from '../../protocol/shard-key.ts'
import type { FileSystem, MeasuredDisk, OpenFile } from '../../storage/disk-files.ts'
import type { LeasedStore, Reservation } from '../../storage/leased-store.ts'
import { BlockSet } from './block-set.ts'
import type { CacheEntry } from './cache-entry.ts'
import type { DiskSync } from './disk-sync.ts'

/** An object of which some blocks are in a file. */
export interface PartialRecord {
  /** Bytes of the whole. */
  readonly size: number
  /** Of the whole, as its manifest says; lower-case hex. */
  readonly sha256: string
  readonly blockSize: number
  readonly blocks: BlockSet
}

/** One that is taken up again. Its file and room belong to whoever took it. */
export interface TakenPartial extends PartialRecord {
  readonly path: string
  readonly reservation: Reservation
}

interface KeptPartial extends TakenPartial {
  readonly id: string
}

export interface PartialsOptions {
  /** Directory of the shard files. */
  readonly root: string
  readonly fs: FileSystem
  readonly disk: MeasuredDisk
  readonly sync: DiskSync
  readonly leased: LeasedStore<CacheEntry>
}

/** Of the files that are beside the parts, and say which they are. */
export const PARTIAL_VERSION = 1
/** Objects kept at most; what was left longest ago goes first. */
export const MAX_PARTIALS = 256
/** Share of the cache that their whole sizes may take. */
export const PARTIAL_SHARE = 1 / 8
const DIRECTORY = 'partial'
const RECORD = '.json'
/** A record: 2 kB for a shard of a gigabyte in blocks of 64 KiB. */
const MAX_RECORD_BYTES = 64 * 1024

/**
 * Objects of which the cache has some blocks, since their fill was given up. Each is a file with holes and a record beside it; room for the whole
 * stays reserved. Whoever takes one up verifies its blocks again. They outlive a restart.
 */
export class Partials {
  readonly #options: PartialsOptions
  /** The one that was left longest ago first. */
  readonly #kept = new Map<string, KeptPartial>()
  readonly #removing = new Set<Promise<void>>()
  /** Whether some were removed since {@link drained} saw to it that they do not come back. */
  #removed = false

  constructor (options: PartialsOptions) {
    this.#options = options
  }

  get count (): number { return this.#kept.size }
  /** Bytes reserved for them. */
  get bytes (): number { return [...this.#kept.values()].reduce((sum, { size }) => sum + size, 0) }

  /**
   * Keeps an object whose file is at `path`.
   * @param name that no other file ever had
   * @returns whether it is kept; otherwise file and reservation still are the caller's
   */
  async keep (id: string, name: string, path: string, handle: OpenFile, reservation: Reservation, record: PartialRecord): Promise<boolean> {
    const { root, disk, fs, sync, leased } = this.#options
    if (record.blocks.count === 0 || record.size > leased.maxBytes * PARTIAL_SHARE || reservation.settled) return false
    const file = join(root, DIRECTORY, name)
    try {
      await sync.bytes(handle)
      await fs.mkdir(join(root, DIRECTORY), { recursive: true, mode: 0o700 })
      await disk.run('rename', () => fs.rename(path, file))
      await this.#writeRecord(file + RECORD, id, record)
    } catch {
      await Promise.all([disk.remove(file), disk.remove(file + RECORD)])
      return false
    }
    this.#forget(id)
    this.#kept.set(id, { ...record, id, path: file, reservation })
    this.trim()
    return this.#kept.has(id)
  }

  /** Hands an object out, if it is the one that is wanted; another one of the same key goes. */
  take (id: string, { size, sha256, blockSize }: Omit<PartialRecord, 'blocks'>): TakenPartial | undefined {
    const kept = this.#kept.get(id)
    if (kept === undefined) return undefined
    if (kept.size !== size || kept.sha256 !== sha256 || kept.blockSize !== blockSize) {
      this.#forget(id)
      return undefined
    }
    this.#kept.delete(id)
    // Should the relay be killed while it goes on, it would not know which blocks have been written again.
    this.#remove(kept.path + RECORD)
    return kept
  }

  /** Drops what was left longest ago until it fits. */
  trim (): void {
    const most = this.#options.leased.maxBytes * PARTIAL_SHARE
    for (const id of this.#kept.keys()) {
      if (this.#kept.size <= MAX_PARTIALS && this.bytes <= most) return
      this.#forget(id)
    }
  }

  /** Drops those that match. @returns how many */
  drop (matches: (id: string) => boolean): number {
    const found = [...this.#kept.keys()].filter(matches)
    for (const id of found) this.#forget(id)
    return found.length
  }

  /** Finds those of an earlier run; whatever else lies in their directory goes. @returns how many there are */
  async restore (): Promise<number> {
    const { root, fs, disk, leased } = this.#options
    const directory = join(root, DIRECTORY)
    const names = new Set(await fs.readdir(directory).catch(() => []))
    for (const name of [...names].filter(one => !one.endsWith(RECORD)).sort()) {
      const path = join(directory, name)
      const found = names.has(name + RECORD) ? await this.#readRecord(path).catch(() => undefined) : undefined
      const fits = found !== undefined && this.#kept.size < MAX_PARTIALS && !this.#kept.has(found.id) && this.bytes + found.size <= leased.maxBytes * PARTIAL_SHARE
      const reservation = fits ? leased.reserve(found.size) : undefined
      if (found === undefined || reservation === undefined) continue
      this.#kept.set(found.id, { ...found, path, reservation })
      names.delete(name)
      names.delete(name + RECORD)
    }
    for (const name of names) await disk.remove(join(directory, name))
    return this.#kept.size
  }

  /** Waits for removals under way, and for the disk as far as `cache.sync` says. */
  async drained (): Promise<void> {
    const { root, sync } = this.#options
    await Promise.all(this.#removing)
    if (!this.#removed) return
    this.#removed = false
    // Reported, and tried again with what is removed next.
    await sync.directory(join(root, DIRECTORY)).catch(() => {})
  }

  #forget (id: string): void {
    const kept = this.#kept.get(id)
    if (kept === undefined) return
    this.#kept.delete(id)
    this.#options.leased.cancel(kept.reservation)
    this.#remove(kept.path + RECORD, kept.path)
  }

  #remove (...paths: readonly string[]): void {
    const { disk } = this.#options
    this.#removed = true
    const removing = Promise.all(paths.map(async path => { await disk.remove(path) })).then(() => { this.#removing.delete(removing) })
    this.#removing.add(removing)
  }

  /** Written elsewhere first, so that it is whole or not there. */
  async #writeRecord (path: string, id: string, { size, sha256, blockSize, blocks }: PartialRecord): Promise<void> {
    const { fs, disk, sync } = this.#options
    const text = JSON.stringify({ version: PARTIAL_VERSION, id, size, sha256, blockSize, blocks: Buffer.from(blocks.toBytes()).toString('base64') })
    const handle = await fs.open(`${path}.new`, 'w', 0o600)
    try {
      await disk.writeAt(handle, [Buffer.from(text)], 0)
      await sync.bytes(handle)
    } finally {
      await handle.close()
    }
    await fs.rename(`${path}.new`, path)
  }

  async #readRecord (path: string): Promise<PartialRecord & { readonly id: string } | undefined> {
    const { fs } = this.#options
    const handle = await fs.open(path + RECORD, 'r')
    let text: string
    try {
      const buffer = Buffer.alloc(MAX_RECORD_BYTES)
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0)
      text = buffer.toString('utf8', 0, bytesRead)
    } finally {
      await handle.close()
    }
    const stat = await fs.lstat(path)
    const record = partialOf(JSON.parse(text))
    return record !== undefined && stat.isFile() && stat.size <= record.size ? record : undefined
  }
}

/** What a record says; undefined when it is none of this version. */
function partialOf (value: unknown): PartialRecord & { readonly id: string } | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { version, id, size, sha256, blockSize, blocks } = value as Readonly<Record<string, unknown>>
  if (version !== PARTIAL_VERSION || typeof id !== 'string' || parseKeyId(id) === undefined || typeof sha256 !== 'string' || !/^[0-9a-f]{64}$/.test(sha256)) return undefined
  if (!isPositive(size) || !isPositive(blockSize) || typeof blocks !== 'string') return undefined
  const bits = Buffer.from(blocks, 'base64')
  const count = blockCount(size, blockSize)
  if (bits.length !== Math.ceil(count / 8)) return undefined
  return { id, size, sha256, blockSize, blocks: new BlockSet(count, bits) }
}

const isPositive = (value: unknown): value is number => typeof value === 'number' && Number.isSafeInteger(value) && value > 0
