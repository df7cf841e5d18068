import { createHash } from 'node:crypto'
import type { BlockPlace, BlockSpool } from '../shard-cache/block-spool.ts'

/** A block of which every byte is here. */
export interface ReceivedBlock {
  readonly block: number
  readonly digest: Buffer
  readonly pieces: readonly Uint8Array[]
  /** Gives it to the spool. @throws as {@link BlockSpool.place} and {@link BlockSpool.put} do */
  readonly put: () => Promise<void>
}

/** Cuts a body into blocks. What it holds of one has a place in the spool. */
export class BlockReceiver {
  readonly #spool: BlockSpool
  readonly #signal: AbortSignal
  #block: number
  #place: BlockPlace | undefined
  #hash = createHash('sha256')
  #pieces: Uint8Array[] = []
  #bytes = 0
  #over = false

  /** @param block with which the body begins */
  constructor (spool: BlockSpool, block: number, signal: AbortSignal) {
    this.#spool = spool
    this.#block = block
    this.#signal = signal
  }

  /** Whether more has come than the object has. */
  get over (): boolean { return this.#over }

  /** Blocks that are whole with this chunk. Each must be put, or the body given up, before the next one is taken. */
  * take (chunk: Uint8Array): Generator<ReceivedBlock, void> {
    for (let at = 0; at < chunk.length;) {
      const piece = chunk.subarray(at, at + this.#spool.bytesOf(this.#block) - this.#bytes)
      if (piece.length === 0) {
        this.#over = true
        return
      }
      this.#hash.update(piece)
      this.#pieces.push(piece)
      this.#bytes += piece.length
      at += piece.length
      if (this.#bytes === this.#spool.bytesOf(this.#block)) yield this.#whole()
    }
  }

  /** Waits until the next chunk may be taken. */
  async ready (): Promise<void> {
    this.#place ??= await this.#spool.place(this.#signal)
  }

  /** Nothing more comes. */
  end (): void {
    this.#place?.giveBack()
    this.#place = undefined
  }

  #whole (): ReceivedBlock {
    const [block, pieces, digest] = [this.#block, this.#pieces, this.#hash.digest()]
    this.#block++
    this.#pieces = []
    this.#bytes = 0
    this.#hash = createHash('sha256')
    const put = async (): Promise<void> => {
      await this.ready()
      const place = this.#place
      this.#place = undefined
      if (place !== undefined) await this.#spool.put(block, pieces, place, this.#signal)
    }
    return { block, digest, pieces, put }
  }
}
