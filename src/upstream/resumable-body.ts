import type { Readable } from 'node:stream'
import { RelayError } from '../errors.ts'

/** Part of an object on its way from one super-node. */
export interface BodySource {
  readonly body: Readable
  /** Bytes at the start of `body` that are here already: the node does not know ranges. */
  readonly skip: number
  /** The body has ended, well or not. */
  readonly release: () => void
}

export interface ResumableBodyOptions {
  readonly first: BodySource
  /** Of the whole object, bytes; undefined when the origin does not tell, and then nothing can be resumed. */
  readonly size: number | undefined
  /** Finds the bytes from `position` on at another super-node. @throws RelayError when none has them */
  readonly resume: (position: number, error: unknown) => Promise<BodySource>
  /** Times an object may be resumed. */
  readonly maxResumes: number
}

/** The bytes of one object, whatever number of super-nodes they come from. To be iterated once, or destroyed. */
export class ResumableBody implements AsyncIterable<Buffer> {
  readonly #options: ResumableBodyOptions
  #source: BodySource
  #destroyed = false

  constructor (options: ResumableBodyOptions) {
    this.#options = options
    this.#source = options.first
  }

  destroy (): void {
    this.#destroyed = true
    this.#source.release()
    this.#source.body.destroy()
  }

  async * [Symbol.asyncIterator] (): AsyncGenerator<Buffer, void, void> {
    const { size, maxResumes, resume } = this.#options
    let position = 0
    for (let resumes = 0; ; resumes++) {
      let failure: unknown
      try {
        let { skip } = this.#source
        for await (const chunk of this.#source.body as AsyncIterable<Buffer>) {
          const fresh = skip === 0 ? chunk : chunk.subarray(skip)
          skip -= chunk.length - fresh.length
          if (fresh.length === 0) continue
          position += fresh.length
          yield fresh
        }
        if (size === undefined || position >= size) return
        failure = new RelayError('RELAY_ERR_UPSTREAM_BODY', `the body ended after ${position} of ${size} bytes`)
      } catch (error) {
        failure = error
      } finally {
        this.#source.release()
      }
      if (size === undefined || position >= size || resumes === maxResumes || this.#destroyed) throw failure
      const next = await resume(position, failure)
      this.#source = next
      // Destroyed while the next node was being asked.
      if (this.#isDestroyed()) {
        this.destroy()
        throw failure
      }
    }
  }

  #isDestroyed (): boolean { return this.#destroyed }
}
