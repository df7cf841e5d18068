import { Readable } from 'node:stream'
import type { ByteRange } from '../shard/range.ts'
import type { OpenShard } from '../shard/shard-service.ts'
import type { ChunkSize } from './chunk-size.ts'

/**
 * The bytes of an opened object as a stream that holds at most two chunks: the next one is read when the socket has taken the
 * last. Releases the object when it ends, fails or is abandoned.
 */
export class ShardStream extends Readable {
  readonly #shard: OpenShard
  readonly #onChunk: (bytes: number) => void
  readonly #end: number
  readonly #chunkSize: ChunkSize
  #position: number

  constructor (shard: OpenShard, range: ByteRange, onChunk: (bytes: number) => void, chunkSize: ChunkSize) {
    super({ highWaterMark: chunkSize.bytes })
    this.#chunkSize = chunkSize
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
    this.#shard.read(this.#position, Math.min(this.#chunkSize.bytes, this.#end - this.#position)).then(chunk => {
      if (this.destroyed) return
      this.#position += chunk.length
      this.#onChunk(chunk.length)
      // The socket pauses the stream while it has not taken what it was given.
      this.#chunkSize.chunkRead(this.readableFlowing === true)
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
