import { createHash, type Hash } from 'node:crypto'
import type { Readable } from 'node:stream'
import { RelayError } from '../../base/errors.ts'
import { BodySilence, type SilencePolicy } from './body-silence.ts'
import type { LeastRate } from './least-rate.ts'

/** Part of an object on its way from one super-node. */
export interface BodySource {
  readonly body: Readable
  /** Bytes at the start of `body` that are here already: the node sends all of it. */
  readonly skip: number
  readonly silence: SilencePolicy
  /** The body has ended, well or not. */
  readonly release: () => void
}

export interface SourceReaderOptions {
  readonly rate: LeastRate
  /** Monotonic ms. */
  readonly monotonic: () => number
  /** SHA-256 of the bytes that were taken, lower-case hex; without it a start that is here already is not compared. */
  readonly soFar: (() => string) | undefined
}

/** Reads what one super-node has of a body, chunk by chunk, and sees to its pace and to what it begins with. */
export class SourceReader {
  readonly silence: BodySilence
  readonly #source: BodySource
  readonly #options: SourceReaderOptions
  readonly #chunks: AsyncIterator<Buffer>
  readonly #start: Hash | undefined
  #skip: number
  #next: Promise<Buffer | undefined> | undefined
  #received = 0
  #ended = false

  constructor (source: BodySource, options: SourceReaderOptions) {
    this.#source = source
    this.#options = options
    this.#skip = source.skip
    this.#start = source.skip > 0 && options.soFar !== undefined ? createHash('sha256') : undefined
    this.#chunks = (source.body as AsyncIterable<Buffer>)[Symbol.asyncIterator]()
    this.silence = new BodySilence(source.silence)
  }

  /** Bytes that it has sent. */
  get received (): number { return this.#received }

  /** The chunk that comes next, the same until it is {@link take}n; undefined at the end. @throws RelayError; what the stream throws */
  next (): Promise<Buffer | undefined> {
    this.#next ??= this.#read()
    return this.#next
  }

  /** The chunk has gone. */
  take (): void {
    this.#next = undefined
  }

  /** Nothing more is read of it. */
  end (): void {
    if (this.#ended) return
    this.#ended = true
    this.#next?.catch(() => {})
    this.#source.release()
    if (!this.#source.body.readableEnded) this.#source.body.destroy()
  }

  async #read (): Promise<Buffer | undefined> {
    const { monotonic, rate, soFar } = this.#options
    for (;;) {
      const asked = monotonic()
      const next = await this.#chunks.next()
      if (next.done === true) return undefined
      const chunk = next.value
      const ms = monotonic() - asked
      this.silence.spoke(ms)
      if (!rate.took(chunk.length, ms)) throw new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', 'the body comes too slowly')
      this.#received += chunk.length
      const known = Math.min(this.#skip, chunk.length)
      if (known > 0) {
        this.#start?.update(chunk.subarray(0, known))
        this.#skip -= known
        if (this.#skip === 0 && this.#start !== undefined && this.#start.digest('hex') !== soFar?.()) throw new RelayError('RELAY_ERR_UPSTREAM_VERSION', 'the object begins with other bytes than those that were to go on')
      }
      if (known < chunk.length) return known === 0 ? chunk : chunk.subarray(known)
    }
  }
}
