import { Readable } from 'node:stream'
import type { ByteRange } from '../shard/range.ts'
import type { OpenShard } from '../shard/shard-service.ts'
import type { ChunkSize } from './chunk-size.ts'

/** The viewer's part of the bandwidth, as a response uses it. */
export interface ResponsePace {
  /** False: nothing is limited, and reads go without asking. */
  readonly limited: boolean
  /** Bytes one read may ask for, at most `most`. */
  readBytes (most: number): number
  /** Bytes that may be read now, 1 to `wanted`, or a promise of them that rejects when the signal aborts. @throws RelayError */
  take (wanted: number, signal: AbortSignal): number | Promise<number>
  giveBack (bytes: number): void
}

export interface ShardStreamOptions {
  /** How much is read at once. */
  readonly chunkSize: ChunkSize
  readonly pace: ResponsePace
  /** Bytes are on their way to the viewer. */
  readonly onChunk: (bytes: number) => void
  /** The response begins, or ends, waiting for bandwidth. */
  readonly onWait: (waits: boolean) => void
}

/**
 * The bytes of an opened object as a stream that holds at most two chunks: the next one is read when the socket has taken the
 * last, and when the viewer's bandwidth allows it. Releases the object when it ends, fails or is abandoned.
 */
export class ShardStream extends Readable {
  readonly #shard: OpenShard
  readonly #options: ShardStreamOptions
  readonly #abort = new AbortController()
  readonly #end: number
  #position: number

  constructor (shard: OpenShard, range: ByteRange, options: ShardStreamOptions) {
    super({ highWaterMark: options.chunkSize.bytes })
    this.#shard = shard
    this.#options = options
    this.#position = range.start
    this.#end = range.end
  }

  override _read (): void {
    if (this.#position >= this.#end) {
      this.push(null)
      return
    }
    this.#next().then(chunk => {
      if (this.destroyed) return
      this.#position += chunk.length
      this.#options.onChunk(chunk.length)
      // The socket pauses the stream while it has not taken what it was given.
      this.#options.chunkSize.chunkRead(this.readableFlowing === true)
      this.push(chunk)
    }, (error: unknown) => {
      this.destroy(error instanceof Error ? error : new Error(String(error)))
    })
  }

  override _destroy (error: Error | null, callback: (error?: Error | null) => void): void {
    this.#abort.abort()
    this.#shard.release()
    callback(error)
  }

  async #next (): Promise<Uint8Array> {
    const { chunkSize: { bytes }, pace } = this.#options
    const left = this.#end - this.#position
    if (!pace.limited) return await this.#shard.read(this.#position, Math.min(bytes, left), this.#end)
    const admitted = await this.#admit(Math.min(pace.readBytes(bytes), left))
    let used = 0
    try {
      // The object is released with the stream.
      this.#abort.signal.throwIfAborted()
      const chunk = await this.#shard.read(this.#position, admitted, this.#end)
      used = chunk.length
      return chunk
    } finally {
      if (used < admitted) pace.giveBack(admitted - used)
    }
  }

  async #admit (wanted: number): Promise<number> {
    const { pace, onWait } = this.#options
    const bytes = pace.take(wanted, this.#abort.signal)
    if (typeof bytes === 'number') return bytes
    onWait(true)
    try {
      return await bytes
    } finally {
      onWait(false)
    }
  }
}
