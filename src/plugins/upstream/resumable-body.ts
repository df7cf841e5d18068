import { deferred } from '../../base/deferred.ts'
import { RelayError } from '../../base/errors.ts'
import { afterArrivals, type Timers } from '../../base/clock.ts'
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

type Spoken = 'spoke' | 'failed'

/** A node that was asked beside the present one. */
interface OtherSource {
  /** Undefined when it has not what is wanted. */
  readonly answered: Promise<SourceReader | undefined>
  readonly spoken: Promise<Spoken>
  /** It has lost. */
  readonly end: () => void
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
  /** When the chunk was asked for that is waited for, monotonic ms. */
  #since = 0
  /** Told when it is late; undefined while none is waited for. */
  #late: (() => void) | undefined
  #cancelWatch: (() => void) | undefined

  constructor (options: ResumableBodyOptions) {
    this.#options = options
    this.#reader = this.#readerOf(options.first)
    this.#position = options.start ?? 0
  }

  destroy (): void {
    this.#destroyed = true
    this.#endWatch()
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
    if (beside !== undefined && end !== undefined && this.#position < end && !await this.#inTime()) while (await this.#movesOn(beside)) this.#since = this.#options.timers.now()
    const chunk = await this.#reader.next()
    this.#reader.take()
    return chunk
  }

  /** Whether the present source speaks or fails before it is late, as nearly always: with one timer for the body and not one for each chunk. */
  async #inTime (): Promise<boolean> {
    this.#since = this.#options.timers.now()
    return await new Promise(resolve => {
      const settle = (): void => {
        this.#late = undefined
        resolve(true)
      }
      this.#late = () => { resolve(false) }
      this.#reader.next().then(settle, settle)
      this.#watch()
    })
  }

  #watch (): void {
    const { timers } = this.#options
    const left = (): number => this.#since + this.#reader.silence.lateMs - timers.now()
    this.#cancelWatch ??= afterArrivals(timers, Math.max(0, left()), () => {
      this.#cancelWatch = undefined
      if (this.#late === undefined) return
      if (left() <= 0) this.#late()
      else this.#watch()
    })
  }

  #endWatch (): void {
    this.#cancelWatch?.()
    this.#cancelWatch = undefined
  }

  /** Waits until the present source, which is late, has spoken, or failed and there is no other. @returns whether another has taken its place meanwhile */
  async #movesOn (beside: BesideOptions): Promise<boolean> {
    const { timers } = this.#options
    const reader = this.#reader
    const since = this.#since
    const present = settled(reader.next())
    let other: OtherSource | undefined
    for (;;) {
      const ms = timers.now() - since
      const step = this.#asked === MAX_ASKED_BESIDE ? Infinity : ms < reader.silence.lateMs || beside.wanted() ? reader.silence.step(ms, beside.mayHedge) : reader.silence.lateMs
      if (step === 'ask') {
        other?.end()
        other = this.#askBeside(beside)
        continue
      }
      const event = await firstOf({ present, other: other?.spoken }, step, timers)
      if (event === 'failed' && other !== undefined && !this.#destroyed) return this.#goOnWith(await other.answered, reader, beside)
      if (event === 'spoke' || event === 'failed') {
        other?.end()
        return false
      }
      if (event === 'other spoke' && other !== undefined) return this.#goOnWith(await other.answered, reader, beside)
      if (event === 'other failed') {
        other?.end()
        other = undefined
      }
    }
  }

  #goOnWith (other: SourceReader | undefined, reader: SourceReader, beside: BesideOptions): boolean {
    this.#beside = undefined
    if (other === undefined || this.#destroyed) {
      other?.end()
      beside.ended('lost')
      return false
    }
    this.#leave(reader)
    this.#reader = other
    beside.ended('won')
    return true
  }

  #askBeside (beside: BesideOptions): OtherSource {
    this.#asked++
    const abort = this.#beside = new AbortController()
    const answered = beside.ask(this.#position, abort.signal).then(source => {
      const reader = this.#readerOf(source)
      if (source.skip === 0 && !abort.signal.aborted) return reader
      reader.end()
      return undefined
    }, () => undefined)
    return {
      answered,
      spoken: answered.then(async reader => reader === undefined ? 'failed' : await settled(reader.next(), true)),
      end: () => {
        abort.abort()
        if (this.#beside === abort) this.#beside = undefined
        void answered.then(reader => { reader?.end() })
        beside.ended('lost')
      }
    }
  }

  #readerOf (source: BodySource): SourceReader {
    const { timers, leastRate, soFar } = this.#options
    return new SourceReader(source, { rate: leastRate(), monotonic: () => timers.now(), soFar })
  }

  #leave (reader: SourceReader): void {
    this.#endWatch()
    reader.end()
    this.#options.received?.(reader.received)
  }

  #isDestroyed (): boolean { return this.#destroyed }
}

/** Whether something comes, or not. @param some whether the end of a body, with nothing before it, is a failure */
async function settled (chunk: Promise<Buffer | undefined>, some = false): Promise<Spoken> {
  return await chunk.then(bytes => bytes === undefined && some ? 'failed' : 'spoke', () => 'failed')
}

/** Who speaks first, or fails; `silent` when nobody does within `ms`. */
async function firstOf ({ present, other }: { readonly present: Promise<Spoken>, readonly other: Promise<Spoken> | undefined }, ms: number, timers: Timers): Promise<Spoken | `other ${Spoken}` | 'silent'> {
  const over = deferred<'silent'>()
  const cancel = ms === Infinity ? () => {} : afterArrivals(timers, ms, () => { over.resolve('silent') })
  try {
    return await Promise.race([present, ...other === undefined ? [] : [other.then(spoken => `other ${spoken}` as const)], over.promise])
  } finally {
    cancel()
  }
}
