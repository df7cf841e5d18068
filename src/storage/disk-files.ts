import type { Stats } from 'node:fs'
import { fstatSync } from 'node:fs'
import * as nodeFs from 'node:fs/promises'
import { systemCode } from '../base/errors.ts'
import { syncDirectory } from '../base/sync-directory.ts'
import type { RemovalReason } from './leased-store.ts'

/** What the cache asks of an open file. */
export interface OpenFile {
  readonly fd: number
  read (buffer: Buffer, offset: number, length: number, position: number): Promise<{ bytesRead: number }>
  writev (chunks: Uint8Array[], position: number): Promise<{ bytesWritten: number }>
  datasync (): Promise<void>
  close (): Promise<void>
}

/** What the cache asks of the file system; tests pass one that fails on demand. */
export interface FileSystem {
  open (path: string, flags: 'r' | 'r+' | 'w' | 'wx+', mode?: number): Promise<OpenFile>
  rename (from: string, to: string): Promise<void>
  unlink (path: string): Promise<void>
  mkdir (path: string, options?: { recursive?: boolean, mode?: number }): Promise<unknown>
  readdir (path: string): Promise<string[]>
  /** Makes the names in a directory outlast a power cut. */
  syncDirectory (path: string): Promise<void>
  stat (path: string): Promise<Stats>
  lstat (path: string): Promise<Stats>
  statfs (path: string): Promise<{ readonly bavail: number, readonly bsize: number }>
  /** Bytes of an open file. Waits for no disk: the system has read its inode to open it. */
  sizeOf (file: OpenFile): number
}

export const systemFiles: FileSystem = {
  ...nodeFs,
  readdir: async path => await nodeFs.readdir(path),
  syncDirectory,
  stat: async path => await nodeFs.stat(path),
  lstat: async path => await nodeFs.lstat(path),
  statfs: async path => await nodeFs.statfs(path),
  sizeOf: ({ fd }) => fstatSync(fd).size
}

export type DiskOperation = 'open' | 'read' | 'write' | 'fsync' | 'rename' | 'unlink'

export type CacheTier = 'disk' | 'ram'

/** What the cache reports to metrics; implementations must not throw. */
export interface CacheObserver {
  /** Time a disk operation kept its caller waiting, milliseconds. */
  diskIo (operation: DiskOperation, ms: number): void
  diskError (operation: DiskOperation | 'index', code: string): void
  removed (tier: CacheTier, reason: RemovalReason, bytes: number): void
  /** An object is in the store. */
  stored (): void
  /** An object is served without being stored: no room, or the disk refused. */
  storeBypassed (reason: 'no-room' | 'disk-error'): void
}

/** Bytes of a file read in one go by whoever has no reason for more or less: large enough to amortise the thread-pool round trip, small enough to share it. */
export const CHUNK_BYTES = 256 * 1024
/** Bytes of one system call whatever a reader asks for: longer ones would keep a thread of the pool from the others. */
export const MAX_READ_BYTES = 1024 * 1024

/** What is left of chunks without their first `bytes` bytes. */
function without (chunks: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let skip = bytes
  return chunks.flatMap(chunk => {
    const skipped = Math.min(skip, chunk.length)
    skip -= skipped
    return skipped === chunk.length ? [] : [chunk.subarray(skipped)]
  })
}

/** Times every disk operation and reports every failure, then rethrows it. */
export class MeasuredDisk {
  readonly fs: FileSystem
  readonly #observer: CacheObserver
  readonly #monotonic: () => number

  constructor (fs: FileSystem, observer: CacheObserver, monotonic: () => number) {
    this.fs = fs
    this.#observer = observer
    this.#monotonic = monotonic
  }

  async run<T> (operation: DiskOperation, work: () => Promise<T>): Promise<T> {
    const start = this.#monotonic()
    try {
      return await work()
    } catch (error) {
      this.#observer.diskError(operation, systemCode(error) ?? 'UNKNOWN')
      throw error
    } finally {
      this.#observer.diskIo(operation, this.#monotonic() - start)
    }
  }

  /**
   * Reads up to `length` bytes at `position`.
   * @param into where they go when they fit, instead of new memory
   * @throws Error when the file ends before `position + 1`: the caller knows how long it has to be
   */
  async readAt (handle: OpenFile, position: number, length: number, into?: Buffer): Promise<Buffer> {
    const buffer = into !== undefined && into.length >= length ? into : Buffer.allocUnsafeSlow(length)
    const bytesRead = await this.readInto(handle, buffer, 0, length, position)
    if (bytesRead === 0) throw new Error(`file ends at ${position}`)
    return bytesRead === buffer.length ? buffer : buffer.subarray(0, bytesRead)
  }

  /** Reads up to `length` bytes at `position` into `memory` from `offset` on; resolves to how many, 0 at the end of the file. */
  async readInto (handle: OpenFile, memory: Buffer, offset: number, length: number, position: number): Promise<number> {
    return (await this.run('read', () => handle.read(memory, offset, length, position))).bytesRead
  }

  /** Writes all of `chunks` from `position` on, one after the other, with as few system calls as may be. Resolves to their length in bytes. */
  async writeAt (handle: OpenFile, chunks: readonly Uint8Array[], position: number): Promise<number> {
    const total = chunks.reduce((sum, { length }) => sum + length, 0)
    let left = [...chunks]
    for (let done = 0; done < total;) {
      const { bytesWritten } = await this.run('write', () => handle.writev(left, position + done))
      done += bytesWritten
      left = without(left, bytesWritten)
    }
    return total
  }

  /** Removes a file; one that is gone already is fine, and so is a failure, which the next reconciliation meets again. */
  async remove (path: string): Promise<void> {
    try {
      await this.fs.unlink(path)
    } catch (error) {
      const code = systemCode(error) ?? 'UNKNOWN'
      if (code !== 'ENOENT') this.#observer.diskError('unlink', code)
    }
  }
}
