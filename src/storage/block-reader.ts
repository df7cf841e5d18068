import { createHash } from 'node:crypto'
import { DIGEST_BYTES, digestAt } from '../base/digest-list.ts'
import { CHUNK_BYTES, MAX_READ_BYTES } from './disk-files.ts'

/** Bytes of a block, the last of a file excepted: as many as are read in one go. */
export const BLOCK_BYTES = CHUNK_BYTES

/** Bytes of a file are not those that were stored. */
export class RotError extends Error {
  override readonly name = 'RotError'
  readonly code = 'ROT'
}

/** Reads up to `length` bytes of a file at `position` into memory from `offset` on; resolves to how many. */
export type ReadInto = (into: Buffer, offset: number, length: number, position: number) => Promise<number>

/** Where the digests of the blocks of a file of `size` bytes are kept: SHA-256 of each, one after the other. */
export function blockDigests (size: number): Buffer {
  return Buffer.alloc(Math.ceil(size / BLOCK_BYTES) * DIGEST_BYTES)
}

/** Notes the digest of the block that begins at `position`. */
export function noteBlock (digests: Buffer, position: number, block: Uint8Array): void {
  createHash('sha256').update(block).digest().copy(digests, position / BLOCK_BYTES * DIGEST_BYTES)
}

/** Fills `length` bytes of `into` from `position` of a file on. @throws RotError when it ends before; what the disk says */
export async function readFully (read: ReadInto, into: Buffer, length: number, position: number): Promise<void> {
  for (let done = 0; done < length;) {
    const bytes = await read(into, done, length - done, position + done)
    if (bytes === 0) throw new RotError(`the file ends at ${position + done}`)
    done += bytes
  }
}

/** `length` bytes from `position` on of something that gives at most so many at a time, in memory that nobody else has. @throws RotError when it ends before; what it says */
export async function readBytes (source: { readonly read: (position: number, length: number) => Promise<Uint8Array> }, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length)
  await readFully(async (into, offset, most, at) => {
    const piece = await source.read(at, most)
    into.set(piece, offset)
    return piece.length
  }, bytes, length, position)
  return bytes
}

/**
 * Reads a file in whole blocks and gives out only bytes of blocks that are as they were when their digests were noted. One read at a time; what it has
 * given stays unchanged. Holds one block at most: a reader of small pieces would have it read and hashed for each of them.
 */
export class BlockReader {
  readonly #size: number
  readonly #digests: Uint8Array
  readonly #read: ReadInto
  #held: Buffer | undefined
  #heldAt = 0

  /** @param digests of all blocks of a file of `size` bytes, see {@link blockDigests} */
  constructor (size: number, digests: Uint8Array, read: ReadInto) {
    this.#size = size
    this.#digests = digests
    this.#read = read
  }

  /**
   * Bytes at `position`, at least one and at most `length`.
   * @param into memory that they may be read into, instead of new memory
   * @throws RotError when a block has changed or is missing; what the disk says
   */
  async read (position: number, length: number, into?: Buffer): Promise<Uint8Array> {
    const start = position - position % BLOCK_BYTES
    const end = Math.min(position + Math.min(length, MAX_READ_BYTES), this.#size)
    const blocksEnd = end === this.#size ? end : end - end % BLOCK_BYTES
    if (position === start && blocksEnd > start) return await this.#blocks(start, blocksEnd - start, into)
    if (this.#held === undefined || this.#heldAt !== start) {
      this.#held = undefined
      this.#held = await this.#blocks(start, Math.min(BLOCK_BYTES, this.#size - start))
      this.#heldAt = start
    }
    return this.#held.subarray(position - start, end - start)
  }

  async #blocks (start: number, length: number, into?: Buffer): Promise<Buffer> {
    // The memory itself goes to the disk and no view of it: by it, memory that a hanging read may still write to is known.
    const memory = into !== undefined && into.length >= length ? into : Buffer.allocUnsafeSlow(length)
    await readFully(this.#read, memory, length, start)
    for (let at = 0; at < length; at += BLOCK_BYTES) {
      const digest = createHash('sha256').update(memory.subarray(at, Math.min(at + BLOCK_BYTES, length))).digest()
      if (!digest.equals(digestAt(this.#digests, (start + at) / BLOCK_BYTES))) throw new RotError(`the block at ${start + at} has changed`)
    }
    return memory.length === length ? memory : memory.subarray(0, length)
  }
}
