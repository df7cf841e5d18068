import { createHash } from 'node:crypto'
import { RelayError } from '../../base/errors.ts'
import type { BlockSpool } from '../shard-cache/block-spool.ts'

/** SHA-256 of an object whose blocks come in any order: most come in theirs, and then nothing is read again. */
export class OrderedHash {
  readonly #hash = createHash('sha256')
  /** Blocks from the first on that are in it. */
  #blocks = 0

  /** Takes a block, if it is the next one. */
  add (block: number, pieces: readonly Uint8Array[]): void {
    if (block !== this.#blocks) return
    for (const piece of pieces) this.#hash.update(piece)
    this.#blocks++
  }

  /**
   * The digest of the whole, lower-case hex; to be called once, when every block is here.
   * @throws RelayError RELAY_ERR_CACHE_READ when one is not; what the disk throws
   */
  async finish (spool: BlockSpool): Promise<string> {
    for (let at = this.#blocks * spool.blockSize; at < spool.length;) {
      const bytes = await spool.read(at, spool.length - at)
      if (bytes.length === 0) throw new RelayError('RELAY_ERR_CACHE_READ', 'a block that was here is gone')
      this.#hash.update(bytes)
      at += bytes.length
    }
    return this.#hash.digest('hex')
  }
}
