import type { FileHandle } from 'node:fs/promises'
import { RelayError } from '../errors.ts'
import { MAX_READ_BYTES, type MeasuredDisk } from './disk-files.ts'
import type { MemoryBudget, MemoryGrant } from './memory-budget.ts'

export interface SpoolFile {
  readonly handle: FileHandle
  readonly path: string
}

export interface SpoolOptions {
  /** Bytes the body will have at most; exact when the origin announced it. */
  readonly capacity: number
  readonly disk: MeasuredDisk
  readonly memory: MemoryBudget
  /** Absent when the body cannot be stored: it then passes through memory. */
  readonly file: SpoolFile | undefined
  /** Told once, when the disk refuses in the middle. */
  readonly onDiskError: (error: unknown) => void
  /** Told once, when the file is closed. */
  readonly onClosed: () => Promise<void>
}

/**
 * A body on its way into the cache. It is written once, in order, and read by any number of readers at their own pace while it
 * grows. Its bytes lie in a temporary file; when the disk refuses, those from there on lie in bounded memory instead, so a full
 * or broken disk costs the store and not the viewers. The newest chunk stays in memory as well, because most readers are right
 * behind the writer: they cost no disk read.
 */
export class Spool {
  readonly #options: SpoolOptions
  #file: SpoolFile | undefined
  #diskFailed = false
  #fileBytes = 0
  /** The last chunk that went into the file, as the writer handed it over. */
  #newest: Uint8Array = new Uint8Array(0)
  #memory: Buffer | undefined
  #memoryBytes = 0
  #grant: MemoryGrant | undefined

  constructor (options: SpoolOptions) {
    this.#options = options
    this.#file = options.file
  }

  /** Bytes that can be read now. */
  get length (): number { return this.#fileBytes + this.#memoryBytes }
  /** The temporary file, while every byte of the body is in it. */
  get storable (): SpoolFile | undefined { return this.#diskFailed ? undefined : this.#file }

  /**
   * Adds bytes at the end; one call at a time.
   * @throws RelayError RELAY_ERR_FILLS_BUSY when the disk refuses and no memory comes free before `signal` aborts
   */
  async append (chunk: Uint8Array, signal: AbortSignal): Promise<void> {
    if (this.#file !== undefined && !this.#diskFailed) {
      try {
        await this.#options.disk.writeAt(this.#file.handle, chunk, this.#fileBytes)
        this.#fileBytes += chunk.length
        this.#newest = chunk
        return
      } catch (error) {
        this.#diskFailed = true
        this.#options.onDiskError(error)
      }
    }
    const memory = this.#memory ?? await this.#claimMemory(signal)
    memory.set(chunk, this.#memoryBytes)
    this.#memoryBytes += chunk.length
  }

  /**
   * Bytes at `position`, at most `length`; `position` must be below {@link length}.
   * @param into memory that they may be read into, instead of new memory
   */
  async read (position: number, length: number, into?: Buffer): Promise<Uint8Array> {
    const wanted = Math.min(length, MAX_READ_BYTES)
    const newest = this.#fileBytes - this.#newest.length
    if (position >= newest && position < this.#fileBytes) return this.#newest.subarray(position - newest, position - newest + wanted)
    if (position < this.#fileBytes && this.#file !== undefined) {
      return await this.#options.disk.readAt(this.#file.handle, position, Math.min(wanted, this.#fileBytes - position), into)
    }
    const start = position - this.#fileBytes
    return this.#memory?.subarray(start, Math.min(start + wanted, this.#memoryBytes)) ?? new Uint8Array(0)
  }

  /** Closes the file and frees the memory; called once, when writer and readers are done. */
  async close (): Promise<void> {
    this.#grant?.release()
    this.#memory = undefined
    this.#newest = new Uint8Array(0)
    await this.#file?.handle.close().catch(() => {})
    await this.#options.onClosed()
  }

  async #claimMemory (signal: AbortSignal): Promise<Buffer> {
    const bytes = this.#options.capacity - this.#fileBytes
    this.#grant = await this.#options.memory.acquire(bytes, signal)
    if (this.#grant === undefined) throw new RelayError('RELAY_ERR_FILLS_BUSY', 'the cache cannot store and no memory is free to pass the object through')
    this.#memory = Buffer.allocUnsafeSlow(bytes)
    return this.#memory
  }
}
