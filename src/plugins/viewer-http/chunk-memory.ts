import { isLost } from '../../storage/guarded-files.ts'

/** Free memory that is kept at most, bytes. */
const MAX_FREE_BYTES = 32 * 1024 * 1024

/**
 * Memory for chunks that is used again. Chunks that are left to the garbage collector are not free: V8 counts the memory behind a `Buffer` and
 * marks its whole heap for every 64 MB of it, several times a second at the rate of hits from disk.
 */
export class ChunkMemory {
  readonly #maxFreeBytes: number
  readonly #free = new Map<number, Buffer[]>()
  #freeBytes = 0

  constructor (maxFreeBytes = MAX_FREE_BYTES) {
    this.#maxFreeBytes = maxFreeBytes
  }

  /** Bytes that wait to be used again. */
  get freeBytes (): number { return this.#freeBytes }

  /** A buffer of `bytes`, with whatever it held last. */
  take (bytes: number): Buffer {
    const used = this.#free.get(bytes)?.pop()
    if (used === undefined) return Buffer.allocUnsafeSlow(bytes)
    this.#freeBytes -= bytes
    return used
  }

  /** Only what {@link take} gave, once, and only when nobody will read it any more. What is never given back goes to the collector. */
  giveBack (buffer: Buffer): void {
    if (this.#freeBytes + buffer.length > this.#maxFreeBytes || isLost(buffer)) return
    this.#freeBytes += buffer.length
    const same = this.#free.get(buffer.length)
    if (same === undefined) this.#free.set(buffer.length, [buffer])
    else same.push(buffer)
  }
}
