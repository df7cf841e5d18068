import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { isLocalLack } from '../../base/errors.ts'
import { Places } from '../../base/places.ts'
import { BLOCK_BYTES, blockDigests, BlockReader, noteBlock, readFully, RotError } from '../../storage/block-reader.ts'
import { MAX_READ_BYTES } from '../../storage/disk-files.ts'
import { DiskHangsError } from '../../storage/disk-queue.ts'
import type { DiskStore } from './disk-store.ts'
import type { CacheEntry } from './cache-entry.ts'
import type { FileLease } from './reader-files.ts'

/** When a hit from disk is verified: the first of an entry since the relay started, each, none. */
export type VerifyReads = 'first' | 'always' | 'never'

/** Who finds that a file has changed: a reader, a copy to memory, the scrub. */
export type RotFinder = 'read' | 'load' | 'scrub'

/** What became of verifying a file before it is read. `busy`: it was not begun, or the disk hangs, and the request goes on as a miss. */
export type VerifyOutcome = 'right' | 'rotted' | 'unreadable' | 'busy'

/** A file whose bytes are not those that were stored. */
export interface Rot {
  readonly entry: CacheEntry
  readonly finder: RotFinder
  /** What was wrong. */
  readonly reason: string
}

/** A file that may be read. */
export interface VerifiedFile {
  /** SHA-256 of its blocks, by which each is verified before it goes out; undefined where that is not asked for. */
  readonly blocks: Buffer | undefined
}

export type ReadFile = (position: number, length: number, into?: Buffer) => Promise<Uint8Array>

export interface VerifiedReadsOptions {
  readonly mode: VerifyReads
  readonly disk: DiskStore
  /** An entry has gone, since its file cannot be read or has changed. */
  readonly gone: (entry: CacheEntry) => void
  readonly onRot: (rot: Rot) => void
  readonly onVerified: (outcome: VerifyOutcome) => void
}

/** Files verified at the same time; each has a block in memory. */
export const MAX_VERIFYING = 4
/** Files that wait for that; more are misses. */
export const MAX_WAITING = 1_024
/** Memory for digests of blocks, bytes: those of 64 GB. What is not in it is verified as a whole again. */
const DIGEST_MEMORY = 8 * 1024 * 1024
/** What an entry of it takes besides. */
const DIGEST_OVERHEAD = 256

const UNVERIFIED: VerifiedFile = { blocks: undefined }

/**
 * Reads of cached files. With `first`, a file is verified as a whole before its first reader since the start gets it. With `always`, that notes the digests
 * of its blocks as well, and every block is verified before it goes out, in whatever process: a range costs the blocks it touches.
 */
export class VerifiedReads {
  readonly #options: VerifiedReadsOptions
  /** By serial number of the entry. */
  readonly #digests = new LRUCache<number, Buffer>({ maxSize: DIGEST_MEMORY, sizeCalculation: ({ length }) => length + DIGEST_OVERHEAD })
  readonly #verifying = new Map<number, Promise<VerifiedFile | undefined>>()
  readonly #places = new Places(MAX_VERIFYING, MAX_WAITING, (taken, waiting) => new Error(`${taken} files are being verified and ${waiting} wait for that`))

  constructor (options: VerifiedReadsOptions) {
    this.#options = options
  }

  /** Files being verified. */
  get running (): number { return this.#places.taken }
  /** Files that wait to be. */
  get waiting (): number { return this.#places.waiting }

  /** How the file of an entry that the caller has leased may be read; a promise while it has to be verified first, of undefined when the request is a miss. */
  admit (entry: CacheEntry): VerifiedFile | Promise<VerifiedFile | undefined> {
    const { mode } = this.#options
    if (mode === 'never' || (mode === 'first' && entry.intact)) return UNVERIFIED
    const blocks = mode === 'always' ? this.#digests.get(entry.serial) : undefined
    if (blocks !== undefined) return { blocks }
    const other = this.#verifying.get(entry.serial)
    if (other !== undefined) return other
    const verifying = this.#verify(entry).finally(() => { this.#verifying.delete(entry.serial) })
    this.#verifying.set(entry.serial, verifying)
    return verifying
  }

  /** Reads of an open file. What cannot be read, or has changed, takes its entry with it. */
  reader ({ entry, handle }: FileLease, { blocks }: VerifiedFile): ReadFile {
    const { disk } = this.#options.disk
    const verified = blocks === undefined
      ? undefined
      : new BlockReader(entry.size, blocks, async (into, offset, length, position) => await disk.readInto(handle, into, offset, length, position))
    return async (position, length, into) => {
      try {
        return await (verified?.read(position, length, into) ?? disk.readAt(handle, position, Math.min(length, MAX_READ_BYTES, entry.size - position), into))
      } catch (error) {
        if (error instanceof RotError) this.rotted(entry, 'read', error.message)
        else this.#options.gone(entry)
        throw error
      }
    }
  }

  /** Reads a whole file into memory, verified on the way, so that memory never multiplies a damaged file; false when it does not belong there. */
  async load (entry: CacheEntry, into: Buffer): Promise<boolean> {
    const lease = await this.#options.disk.openFile(entry)
    if (lease === undefined) return false
    try {
      const read = this.reader(lease, UNVERIFIED)
      const hash = createHash('sha256')
      for (let position = 0; position < entry.size;) {
        const chunk = await read(position, entry.size - position)
        hash.update(chunk)
        into.set(chunk, position)
        position += chunk.length
      }
      return this.judge(entry, hash.digest('hex'), 'load') && entry.indexed
    } finally {
      lease.release()
    }
  }

  /** Compares the SHA-256 of all bytes of a file, lower-case hex, with that of its entry, and keeps what comes of it; true when it is right. */
  judge (entry: CacheEntry, sha256: string, finder: RotFinder): boolean {
    entry.intact = sha256 === entry.sha256
    if (!entry.intact) this.rotted(entry, finder, `its SHA-256 is ${sha256}`)
    return entry.intact
  }

  /** Drops an entry whose bytes have changed; said once, whoever finds it. */
  rotted (entry: CacheEntry, finder: RotFinder, reason: string): void {
    if (entry.indexed) this.#options.onRot({ entry, finder, reason })
    this.#digests.delete(entry.serial)
    this.#options.gone(entry)
  }

  async #verify (entry: CacheEntry): Promise<VerifiedFile | undefined> {
    const { disk, onVerified, gone } = this.#options
    const leave = await this.#places.take().catch(() => undefined)
    if (leave === undefined) {
      onVerified('busy')
      return undefined
    }
    const lease = await disk.openFile(entry)
    try {
      const blocks = lease === undefined ? undefined : await this.#hash(lease)
      const outcome = lease === undefined ? 'unreadable' : blocks === undefined ? 'rotted' : 'right'
      onVerified(outcome)
      return blocks === undefined ? undefined : { blocks: this.#options.mode === 'always' ? blocks : undefined }
    } catch (error) {
      const passes = isPassing(error)
      onVerified(passes ? 'busy' : 'unreadable')
      if (!passes) gone(entry)
      return undefined
    } finally {
      lease?.release()
      leave()
    }
  }

  /** The digests of the blocks of a file, whose bytes are right; undefined when they are not. @throws what the disk says */
  async #hash ({ entry, handle }: FileLease): Promise<Buffer | undefined> {
    const { disk: { disk }, mode } = this.#options
    const { size } = entry
    const memory = Buffer.allocUnsafeSlow(Math.min(BLOCK_BYTES, size))
    const digests = blockDigests(mode === 'always' ? size : 0)
    const hash = createHash('sha256')
    for (let position = 0; position < size; position += BLOCK_BYTES) {
      const length = Math.min(BLOCK_BYTES, size - position)
      await readFully(async (into, offset, most, at) => await disk.readInto(handle, into, offset, most, at), memory, length, position)
      const block = memory.subarray(0, length)
      hash.update(block)
      if (mode === 'always') noteBlock(digests, position, block)
    }
    if (!this.judge(entry, hash.digest('hex'), 'read')) return undefined
    if (mode === 'always') this.#digests.set(entry.serial, digests)
    return digests
  }
}

/** Whether what failed says nothing of the file: the disk hangs, or the relay lacks something itself. */
export function isPassing (error: unknown): boolean {
  return error instanceof DiskHangsError || isLocalLack(error)
}
