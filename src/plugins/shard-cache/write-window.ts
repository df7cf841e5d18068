/** The end of a body that is being received: bytes that its file does not have yet, and some of those that it has, for readers right behind. */

import { Allowance } from '../../base/allowance.ts'

/** Bytes of one body in memory at most, unless a single chunk is larger. */
export const WINDOW_BYTES = 512 * 1024
/** The same of all bodies together. */
const ALL_WINDOWS_BYTES = 64 * 1024 * 1024
/** Chunks of one body, and so pieces of one system call; the kernel takes 1,024 (IOV_MAX). */
export const WINDOW_CHUNKS = 64

/** Leave to hold more than one chunk, in bytes, bounded over all bodies of a cache. */
export class WindowBudget extends Allowance {
  constructor (most = ALL_WINDOWS_BYTES) {
    super(most)
  }
}

interface HeldWrite {
  readonly bytes: Uint8Array
  /** What the budget counts of it: nothing for a chunk that was alone when it came. */
  readonly charged: number
}

/**
 * Chunks in the order of the body, `written` of them in the file already. A body can always hold one chunk, so that it goes on, as slowly as
 * its disk, when others have used up the budget.
 */
export class WriteWindow {
  readonly #budget: WindowBudget
  readonly #chunks: HeldWrite[] = []
  #written = 0
  /** Position in the body of the first byte here. */
  #start = 0
  #bytes = 0

  constructor (budget: WindowBudget) {
    this.#budget = budget
  }

  /** Bytes that are here. */
  get bytes (): number { return this.#bytes }

  /** Adds a chunk at the end, in the place of some that are written; false while too much of what is here is not. */
  push (bytes: Uint8Array): boolean {
    for (;;) {
      const charged = this.#fits(bytes) && this.#budget.take(bytes.length)
      if (charged || this.#chunks.length === 0) {
        this.#chunks.push({ bytes, charged: charged ? bytes.length : 0 })
        this.#bytes += bytes.length
        return true
      }
      if (this.#written === 0) return false
      this.#dropFirst()
    }
  }

  /** Chunks that are to be written, in their order. */
  unwritten (): Uint8Array[] {
    return this.#chunks.slice(this.#written).map(({ bytes }) => bytes)
  }

  /** The first `count` of the unwritten chunks are in the file now. */
  wrote (count: number): void {
    this.#written += count
  }

  /** Bytes at `position` of the body, at most `length`; undefined when they are not here. */
  read (position: number, length: number): Uint8Array | undefined {
    let at = this.#start
    if (position < at) return undefined
    for (const { bytes } of this.#chunks) {
      if (position < at + bytes.length) return bytes.subarray(position - at, position - at + length)
      at += bytes.length
    }
    return undefined
  }

  clear (): void {
    while (this.#chunks.length > 0) this.#dropFirst()
    this.#written = 0
  }

  #fits ({ length }: Uint8Array): boolean {
    return this.#bytes + length <= WINDOW_BYTES && this.#chunks.length < WINDOW_CHUNKS
  }

  #dropFirst (): void {
    const first = this.#chunks.shift()
    if (first === undefined) return
    this.#written--
    this.#start += first.bytes.length
    this.#bytes -= first.bytes.length
    this.#budget.giveBack(first.charged)
  }
}
