import { Readable } from 'node:stream'
import type { ByteRange } from '../shard/range.ts'
import type { OpenShard } from '../shard/shard-service.ts'
import { CHUNK_BYTES } from '../cache/disk-files.ts'

/**
 * The bytes of an opened object as a stream that holds at most two chunks: the next one is read when the socket has taken the
 * last. Releases the object when it ends, fails or is abandoned.
 */
export class ShardStream extends Readable {
  readonly #shard: OpenShard
  readonly #onChunk: (bytes: number) => void
  readonly #end: number
  readonly #chunkBytes: number
  #position: number

  constructor (shard: OpenShard, range: ByteRange, onChunk: (bytes: number) => void, chunkBytes = CHUNK_BYTES) {
    super({ highWaterMark: chunkBytes })
    this.#chunkBytes = chunkBytes
    this.#shard = shard
    this.#onChunk = onChunk
    this.#position = range.start
    this.#end = range.end
  }

  override _read (): void {
    if (this.#position >= this.#end) {
      this.push(null)
      return
    }
    this.#shard.read(this.#position, Math.min(this.#chunkBytes, this.#end - this.#position), this.#end).then(chunk => {
      if (this.destroyed) return
      this.#position += chunk.length
      this.#onChunk(chunk.length)
      this.push(chunk)
    }, (error: unknown) => {
      this.destroy(error instanceof Error ? error : new Error(String(error)))
    })
  }

  override _destroy (error: Error | null, callback: (error?: Error | null) => void): void {
    this.#shard.release()
    callback(error)
  }
}
