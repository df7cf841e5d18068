import type { Readable } from 'node:stream'
import { createHash } from 'node:crypto'
import { RelayError } from '../../base/errors.ts'
import type { LeastRate } from './least-rate.ts'

/** Part of an object on its way from one super-node. */
export interface BodySource {
  readonly body: Readable
  /** Bytes at the start of `body` that are here already: the node sends all of it. */
  readonly skip: number
  /** The body has ended, well or not. */
  readonly release: () => void
}

export interface ResumableBodyOptions {
  readonly first: BodySource
  /** Where it begins in the object; 0 by default. */
  readonly start?: number
  /** Where it ends in the object, exclusive; undefined when the origin does not tell, and then nothing can be resumed. */
  readonly end: number | undefined
  /** Finds the bytes from `position` on at another super-node. @throws RelayError when none has them */
  readonly resume: (position: number, error: unknown) => Promise<BodySource>
  /** Times an object may be resumed. */
  readonly maxResumes: number
  /** What each source must keep up. */
  readonly leastRate: () => LeastRate
  /** Monotonic ms. */
  readonly monotonic: () => number
  /** What a source has sent of it, bytes, when no more comes from that one. */
  readonly received?: (bytes: number) => void
  /** SHA-256 of the bytes that were taken, lower-case hex; without it a start that is here already is not compared. */
  readonly soFar: (() => string) | undefined
}

/** The bytes of one object, whatever number of super-nodes they come from. To be iterated once, or destroyed. */
export class ResumableBody implements AsyncIterable<Buffer> {
  readonly #options: ResumableBodyOptions
  #source: BodySource
  #position: number
  #destroyed = false
  /** By the present source, bytes. */
  #received = 0

  constructor (options: ResumableBodyOptions) {
    this.#options = options
    this.#source = options.first
    this.#position = options.start ?? 0
  }

  destroy (): void {
    this.#destroyed = true
    this.#source.release()
    this.#source.body.destroy()
  }

  async * [Symbol.asyncIterator] (): AsyncGenerator<Buffer, void, void> {
    const { end, maxResumes, resume } = this.#options
    for (let resumes = 0; ; resumes++) {
      let failure: unknown
      try {
        yield * this.#rest()
        if (end === undefined || this.#position >= end) return
        failure = new RelayError('RELAY_ERR_UPSTREAM_BODY', `the body ended after ${this.#position} of ${end} bytes`)
      } catch (error) {
        failure = error
      } finally {
        this.#options.received?.(this.#received)
        this.#received = 0
        this.#source.release()
      }
      if (end === undefined || this.#position >= end || resumes === maxResumes || this.#destroyed) throw failure
      const next = await resume(this.#position, failure)
      this.#source = next
      // Destroyed while the next node was being asked.
      if (this.#isDestroyed()) {
        this.destroy()
        throw failure
      }
    }
  }

  /** What the present source has of it. */
  async * #rest (): AsyncGenerator<Buffer, void, void> {
    const { monotonic, leastRate, soFar } = this.#options
    const { body } = this.#source
    let { skip } = this.#source
    const start = skip > 0 && soFar !== undefined ? createHash('sha256') : undefined
    const rate = leastRate()
    let asked = monotonic()
    for await (const chunk of body as AsyncIterable<Buffer>) {
      if (!rate.took(chunk.length, monotonic() - asked)) throw new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', 'the body comes too slowly')
      this.#received += chunk.length
      const known = Math.min(skip, chunk.length)
      if (known > 0) {
        start?.update(chunk.subarray(0, known))
        skip -= known
        if (skip === 0 && start !== undefined && start.digest('hex') !== soFar?.()) throw new RelayError('RELAY_ERR_UPSTREAM_VERSION', 'the object begins with other bytes than those that were to go on')
      }
      const fresh = known === 0 ? chunk : chunk.subarray(known)
      if (fresh.length > 0) {
        this.#position += fresh.length
        yield fresh
      }
      asked = monotonic()
    }
  }

  #isDestroyed (): boolean { return this.#destroyed }
}
