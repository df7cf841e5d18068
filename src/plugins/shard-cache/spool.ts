import { Changes } from '../../base/changes.ts'
import { RelayError } from '../../base/errors.ts'
import { MAX_READ_BYTES, type MeasuredDisk } from '../../storage/disk-files.ts'
import type { BodySpool, SpoolFile } from './body-spool.ts'
import type { MemoryBudget, MemoryGrant } from './memory-budget.ts'
import { copyTo } from './pieces.ts'
import { WriteWindow, type WindowBudget } from './write-window.ts'

export interface SpoolOptions {
  /** Bytes the body will have at most; exact when the origin announced it. */
  readonly capacity: number
  /** Whether the body may end long before {@link capacity}: memory is then claimed as it comes. */
  readonly grows: boolean
  /** Asked before the file grows to so many bytes; a body for which there is no room on the disk goes on in memory. */
  readonly roomFor: (bytes: number) => boolean
  readonly disk: MeasuredDisk
  /** For bodies that the disk does not take. */
  readonly memory: MemoryBudget
  /** For bytes that the disk has not taken yet. */
  readonly windows: WindowBudget
  /** Absent when the body cannot be stored: it then passes through memory. */
  readonly file: SpoolFile | undefined
  /** Asked when the disk refuses: whether so many bytes may fit now. */
  readonly makeRoom: (error: unknown, bytes: number) => Promise<boolean>
  /** Told once, when the disk refuses in the middle. */
  readonly onDiskError: (error: unknown) => void
  /** Told once, when the file is closed. */
  readonly onClosed: () => Promise<void>
}

/** First memory of a body whose length nobody told, bytes: a small object needs no more. */
const MIN_MEMORY_BYTES = 64 * 1024
/** Times that room is made for one run of writes. */
const MAX_REFUSALS = 3

/**
 * A body on its way into the cache. It is received once, in order, and read by any number of readers at their own pace while it
 * grows. Its bytes can be read as soon as they are here and go into a temporary file behind the reader's back, as many in one go as have come
 * since the last write ended; what the disk has not taken yet is bounded. When the disk refuses, the bytes from there on lie in
 * bounded memory instead, so a full or broken disk costs the store and not the viewers.
 */
export class Spool implements BodySpool {
  readonly #options: SpoolOptions
  readonly #file: SpoolFile | undefined
  readonly #window: WriteWindow
  #received = 0
  #fileBytes = 0
  #diskFailed = false
  /** Runs while anything waits to be written. */
  #writing: Promise<void> | undefined
  /** Told at the end of every write. */
  readonly #batches = new Changes()
  #closed = false
  #watcher: () => void = () => {}
  /** The body from {@link #fileBytes} on, once the disk has refused. */
  #memory: Buffer | undefined
  #grant: MemoryGrant | undefined

  constructor (options: SpoolOptions) {
    this.#options = options
    this.#file = options.file
    this.#window = new WriteWindow(options.windows)
  }

  /** Bytes that can be read now. */
  get length (): number { return this.#received }
  /** The temporary file, while the disk takes what comes. */
  get storable (): SpoolFile | undefined { return this.#diskFailed ? undefined : this.#file }
  /** Bytes that are in {@link storable}; all of them where there is no such file. */
  get written (): number { return this.storable === undefined ? this.#received : this.#fileBytes }
  /** Bytes of the end that lie in memory beside the file. */
  get windowBytes (): number { return this.#window.bytes }

  /** @param watcher told whenever more is {@link written} */
  watch (watcher: () => void): void {
    this.#watcher = watcher
  }

  /**
   * Adds bytes at the end, when the disk is not too far behind; one call at a time.
   * @throws RelayError RELAY_ERR_FILLS_BUSY when the disk refuses and no memory comes free before `signal` aborts
   */
  async append (chunk: Uint8Array, signal: AbortSignal): Promise<void> {
    if (this.storable !== undefined && !this.#options.roomFor(this.#received + chunk.length)) {
      await this.flush()
      this.#diskFailed = true
    }
    for (let file = this.storable; file !== undefined; file = this.storable) {
      if (this.#window.push(chunk)) {
        this.#received += chunk.length
        this.#writing ??= this.#writeOut(file)
        return
      }
      await this.#batches.next()
    }
    const memory = await this.#memoryFor(this.#received - this.#fileBytes + chunk.length, signal)
    memory.set(chunk, this.#received - this.#fileBytes)
    this.#received += chunk.length
  }

  /** Waits until the disk has taken, or refused, everything that was added. */
  async flush (): Promise<void> {
    await this.#writing
  }

  /**
   * Bytes at `position`, at most `length`; `position` must be below {@link length}.
   * @param into memory that they may be read into, instead of new memory
   */
  async read (position: number, length: number, into?: Buffer): Promise<Uint8Array> {
    const wanted = Math.min(length, MAX_READ_BYTES)
    const here = this.#window.read(position, wanted)
    if (here !== undefined) return here
    if (position < this.#fileBytes && this.#file !== undefined) {
      return await this.#options.disk.readAt(this.#file.handle, position, Math.min(wanted, this.#fileBytes - position), into)
    }
    const start = position - this.#fileBytes
    return this.#memory?.subarray(start, Math.min(start + wanted, this.#received - this.#fileBytes)) ?? new Uint8Array(0)
  }

  /** Closes the file and frees the memory; called once, when writer and readers are done. */
  async close (): Promise<void> {
    this.#closed = true
    await this.#writing
    this.#window.clear()
    this.#grant?.release()
    this.#memory = undefined
    await this.#file?.handle.close().catch(() => {})
    await this.#options.onClosed()
  }

  /** Writes until nothing waits. Never rejects. */
  async #writeOut ({ handle }: SpoolFile): Promise<void> {
    let refusals = 0
    for (let chunks = this.#window.unwritten(); chunks.length > 0 && !this.#closed && !this.#diskFailed; chunks = this.#window.unwritten()) {
      try {
        this.#fileBytes += await this.#options.disk.writeAt(handle, chunks, this.#fileBytes)
        this.#window.wrote(chunks.length)
      } catch (error) {
        // A write that failed half-way is begun anew: at the same place, with the same bytes.
        if (++refusals <= MAX_REFUSALS && await this.#options.makeRoom(error, this.#options.capacity - this.#fileBytes)) continue
        this.#diskFailed = true
        this.#options.onDiskError(error)
      }
      this.#batches.tell()
      this.#watcher()
    }
    this.#writing = undefined
  }

  /** Memory for `bytes` behind the file. What grows doubles what it has, and does not wait for more: holders that wait for each other wait for ever. */
  async #memoryFor (bytes: number, signal: AbortSignal): Promise<Buffer> {
    const before = this.#memory
    if (before !== undefined && bytes <= before.length) return before
    const { grows, capacity, memory: budget } = this.#options
    const most = capacity - this.#fileBytes
    const wanted = grows ? Math.min(most, Math.max(bytes, MIN_MEMORY_BYTES, 2 * (before?.length ?? 0))) : most
    const granted = this.#grant === undefined ? await budget.acquire(wanted, signal) : budget.exchange(this.#grant, wanted)
    if (granted === undefined) throw new RelayError('RELAY_ERR_FILLS_BUSY', 'the cache cannot store and no memory is free to pass the object through')
    this.#grant = granted
    const memory = this.#memory = Buffer.allocUnsafeSlow(wanted)
    copyTo(memory, 0, before === undefined ? this.#window.unwritten() : [before])
    if (before === undefined) this.#window.clear()
    return memory
  }
}
