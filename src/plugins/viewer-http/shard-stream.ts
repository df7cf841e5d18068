import { ServerResponse } from 'node:http'
import { Http2ServerResponse } from 'node:http2'
import { Readable } from 'node:stream'
import type { ByteRange } from '../../protocol/range.ts'
import type { OpenShard } from '../shards/open-shard.ts'
import type { ChunkMemory } from './chunk-memory.ts'
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
  /** How much is read in one go. */
  readonly chunkSize: ChunkSize
  /** Shared by the responses of a listener. */
  readonly memory: ChunkMemory
  readonly pace: ResponsePace
  /** Bytes are on their way to the viewer. */
  readonly onChunk: (bytes: number) => void
  /** The response begins, or ends, waiting for bandwidth. */
  readonly onWait: (waits: boolean) => void
}

/** One for all: an error of its own costs each response its stack trace. */
const OVER = new Error('the response is over')

/**
 * The bytes of an opened object as a stream that holds at most two chunks: the next one is read when the socket has taken the
 * last, and when the viewer's bandwidth allows it. Releases the object when it ends, fails or is abandoned.
 */
export class ShardStream extends Readable {
  readonly #shard: OpenShard
  readonly #options: ShardStreamOptions
  /** Ends the wait for bandwidth; there only when something waits for that. */
  #waiting: AbortController | undefined
  readonly #end: number
  #position: number
  /** Ends the wait for a response whose connection is gone: it may never tell what became of its last chunk. */
  #giveUp = (): void => {}

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
      // The destination pauses the stream while it has not taken what it was given.
      this.#arrived(chunk, this.readableFlowing === true)
      this.push(chunk)
    }).catch(this.#fail)
  }

  /**
   * Sends everything to a response, in memory that is used again when the response has written it. Other destinations, which may hold on to a
   * chunk for longer, are served like by any stream.
   */
  override pipe<T extends NodeJS.WritableStream> (destination: T, options?: { end?: boolean }): T {
    if (!(destination instanceof ServerResponse || destination instanceof Http2ServerResponse)) return super.pipe(destination, options)
    this.#sendTo(destination).catch(this.#fail)
    return destination
  }

  async #sendTo (response: NodeJS.WritableStream): Promise<void> {
    const { chunkSize, memory, pace } = this.#options
    let sending: Promise<void> | undefined
    let sent = true
    while (this.#position < this.#end) {
      const { bytes } = chunkSize
      // A chunk much smaller than its memory would hold the rest of it for nothing.
      const into = pace.limited || (this.#end - this.#position) * 2 < bytes ? undefined : memory.take(bytes)
      const free = (): void => { if (into !== undefined) memory.giveBack(into) }
      let chunk: Uint8Array
      try {
        chunk = await this.#next(into)
        this.#throwIfOver()
        this.#arrived(chunk, sent)
        await sending
        this.#throwIfOver()
      } catch (error) {
        free()
        if (this.destroyed) return
        throw error
      }
      sent = false
      sending = new Promise(resolve => {
        this.#giveUp = resolve
        response.write(chunk, () => {
          free()
          sent = true
          resolve()
        })
      })
    }
    response.end()
    this.push(null)
    this.resume()
  }

  override _destroy (error: Error | null, callback: (error?: Error | null) => void): void {
    this.#waiting?.abort(OVER)
    this.#giveUp()
    this.#shard.release()
    callback(error)
  }

  #throwIfOver (): void {
    if (this.destroyed) throw OVER
  }

  readonly #fail = (error: unknown): void => {
    this.destroy(error instanceof Error ? error : new Error(String(error)))
  }

  /** @param keptUp whether the viewer had taken all chunks before this one */
  #arrived ({ length }: Uint8Array, keptUp: boolean): void {
    const { chunkSize, onChunk } = this.#options
    this.#position += length
    onChunk(length)
    chunkSize.chunkRead(keptUp)
  }

  async #next (into?: Buffer): Promise<Uint8Array> {
    const { chunkSize: { bytes }, pace } = this.#options
    const left = this.#end - this.#position
    if (!pace.limited) return await this.#shard.read(this.#position, Math.min(bytes, left), this.#end, into)
    const admitted = await this.#admit(Math.min(pace.readBytes(bytes), left))
    let used = 0
    try {
      // The object is released with the stream.
      this.#throwIfOver()
      const chunk = await this.#shard.read(this.#position, admitted, this.#end)
      used = chunk.length
      return chunk
    } finally {
      if (used < admitted) pace.giveBack(admitted - used)
    }
  }

  async #admit (wanted: number): Promise<number> {
    const { pace, onWait } = this.#options
    this.#throwIfOver()
    this.#waiting ??= new AbortController()
    const bytes = pace.take(wanted, this.#waiting.signal)
    if (typeof bytes === 'number') return bytes
    onWait(true)
    try {
      return await bytes
    } finally {
      onWait(false)
    }
  }
}
