import { deferred } from '../../base/deferred.ts'
import { RelayError } from '../../base/errors.ts'
import type { Timers } from '../../base/clock.ts'
import { MAX_ASKED_BESIDE } from './body-silence.ts'
import type { LeastRate } from './least-rate.ts'
import { SourceReader, type BodySource } from './source-reader.ts'

/** How another node is asked beside one that has fallen silent. */
export interface BesideOptions {
  /** Whether a node may be asked only because another is late. */
  readonly mayHedge: () => boolean
  /** Whether anybody waits for the body now, and another node is there to be asked. */
  readonly wanted: () => boolean
  /** Finds the bytes from `position` on at another super-node. @throws when none has them, or the signal aborts, which ends its body as well */
  readonly ask: (position: number, signal: AbortSignal) => Promise<BodySource>
  /** Told what became of the one that was asked: `won` when the body goes on with it, after the last word on the silent one. */
  readonly ended: (how: 'won' | 'lost') => void
}

export interface ResumableBodyOptions {
  readonly first: BodySource
  /** Where it begins in the object; 0 by default. */
  readonly start?: number
  /** Where it ends in the object, exclusive; undefined when the origin does not tell, and then nothing can be resumed. */
  readonly end: number | undefined
  /** Finds the bytes from `position` on at another super-node. @throws RelayError when none has them */
  readonly resume: (position: number, error: unknown) => Promise<BodySource>
  /** Nobody is asked beside a silent node without it. */
  readonly beside?: BesideOptions | undefined
  /** Times an object may be resumed. */
  readonly maxResumes: number
  /** What each source must keep up. */
  readonly leastRate: () => LeastRate
  readonly timers: Timers
  /** What a source has sent of it, bytes, when no more comes from that one. */
  readonly received?: (bytes: number) => void
  /** SHA-256 of the bytes that were taken, lower-case hex; without it a start that is here already is not compared. */
  readonly soFar: (() => string) | undefined
}

/** The bytes of one object, whatever number of super-nodes they come from. To be iterated once, or destroyed. */
export class ResumableBody implements AsyncIterable<Buffer> {
  readonly #options: ResumableBodyOptions
  #reader: SourceReader
  #position: number
  #destroyed = false
  /** Ends the request beside the present source. */
  #beside: AbortController | undefined
  #asked = 0

  constructor (options: ResumableBodyOptions) {
    this.#options = options
    this.#reader = this.#readerOf(options.first)
    this.#position = options.start ?? 0
  }

  destroy (): void {
    this.#destroyed = true
    this.#beside?.abort()
    this.#reader.end()
  }

  async * [Symbol.asyncIterator] (): AsyncGenerator<Buffer, void, void> {
    const { end, maxResumes, resume } = this.#options
    for (let resumes = 0; ; resumes++) {
      let failure: unknown
      try {
        for (let chunk = await this.#next(); chunk !== undefined; chunk = await this.#next()) {
          this.#position += chunk.length
          yield chunk
        }
        if (end === undefined || this.#position >= end) return
        failure = new RelayError('RELAY_ERR_UPSTREAM_BODY', `the body ended after ${this.#position} of ${end} bytes`)
      } catch (error) {
        failure = error
      } finally {
        this.#leave(this.#reader)
      }
      if (end === undefined || this.#position >= end || resumes === maxResumes || this.#destroyed) throw failure
      this.#reader = this.#readerOf(await resume(this.#position, failure))
      // Destroyed while the next node was being asked.
      if (this.#isDestroyed()) {
        this.destroy()
        throw failure
      }
    }
  }

  /** The next chunk of the present source, or of one that was asked beside it and was faster. */
  async #next (): Promise<Buffer | undefined> {
    const { beside, end } = this.#options
    if (beside !== undefined && end !== undefined && this.#position < end) await this.#orAnother(beside)
    const chunk = await this.#reader.next()
    this.#reader.take()
    return chunk
  }

  /** Waits until the present source has said something, or another has taken its place. */
  async #orAnother (beside: BesideOptions): Promise<void> {
    const { timers } = this.#options
    const reader = this.#reader
    const waiting = reader.next()
    const since = timers.now()
    while (this.#asked < MAX_ASKED_BESIDE) {
      const ms = timers.now() - since
      // Whoever comes later finds a node that is late already.
      const step = ms < reader.silence.lateMs || beside.wanted() ? reader.silence.step(ms, beside.mayHedge) : reader.silence.lateMs
      if (step === 'ask') return await this.#race(reader, waiting, beside)
      if (!await silentFor(waiting, step, timers)) return
    }
  }

  /** Asks another node, and goes on with whoever has the next bytes first. */
  async #race (reader: SourceReader, waiting: Promise<unknown>, beside: BesideOptions): Promise<void> {
    this.#asked++
    const abort = this.#beside = new AbortController()
    const asked = this.#speaking(beside, abort.signal)
    const present = waiting.then(() => reader)
    // Who fails has lost; when both do, the failure of the present one counts.
    const winner = await Promise.race([present.catch(async () => await asked), asked.catch(async () => await present)]).catch(() => reader)
    this.#beside = undefined
    if (winner === reader || this.#destroyed) {
      abort.abort()
      void asked.then(other => { other.end() }, () => {})
      beside.ended('lost')
      return
    }
    this.#leave(reader)
    this.#reader = winner
    beside.ended('won')
  }

  /** Another node that has said something. */
  async #speaking (beside: BesideOptions, signal: AbortSignal): Promise<SourceReader> {
    const source = await beside.ask(this.#position, signal)
    const reader = this.#readerOf(source)
    signal.addEventListener('abort', () => { reader.end() }, { once: true })
    try {
      if (source.skip > 0 || signal.aborted || await reader.next() === undefined) throw new Error('nothing but what is here')
      return reader
    } catch (error) {
      reader.end()
      throw error
    }
  }

  #readerOf (source: BodySource): SourceReader {
    const { timers, leastRate, soFar } = this.#options
    return new SourceReader(source, { rate: leastRate(), monotonic: () => timers.now(), soFar })
  }

  #leave (reader: SourceReader): void {
    reader.end()
    this.#options.received?.(reader.received)
  }

  #isDestroyed (): boolean { return this.#destroyed }
}

/** Whether `ms` pass without that a promise settles. */
async function silentFor (waiting: Promise<unknown>, ms: number, timers: Timers): Promise<boolean> {
  const over = deferred<true>()
  // What has come while this process was held up is read first.
  const cancel = ms === Infinity ? () => {} : timers.after(ms, () => { setImmediate(() => { over.resolve(true) }) })
  try {
    return await Promise.race([waiting.then(() => false, () => false), over.promise])
  } finally {
    cancel()
  }
}
