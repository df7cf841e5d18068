import { Readable } from 'node:stream'
import type { Timers } from '../../base/clock.ts'
import { RelayError } from '../../base/errors.ts'
import type { AnyWork } from './any-work.ts'
import type { Job, Jobs } from './jobs.ts'

/** Listeners at the same time, of all jobs. */
export const MAX_LISTENERS = 32
/** Least time between two events of a listener, ms. */
export const EVERY_MS = 250
/** Silence after which a comment is sent, ms, so that nobody between takes the connection for dead. */
export const COMMENT_MS = 15_000
/** What a listener may be behind before it loses events, bytes: four of the longest. */
const BEHIND_BYTES = 16 * 1024

export interface JobEventsOptions {
  readonly jobs: Pick<Jobs<AnyWork>, 'onChange'>
  readonly timers: Timers
}

/** Somebody who is told of one job. */
class JobListener {
  readonly stream: Readable
  readonly #job: Job<AnyWork>
  readonly #timers: Timers
  #cancel: () => void = () => {}
  /** Whether the last event was a moment ago, and whether another is due after the pause. */
  #pausing = false
  #due = false
  #ended = false
  #number = 0

  constructor (job: Job<AnyWork>, timers: Timers, closed: () => void) {
    this.#job = job
    this.#timers = timers
    this.stream = new Readable({ highWaterMark: BEHIND_BYTES, read: () => {} })
    this.stream.once('close', () => {
      this.#cancel()
      closed()
    })
    this.changed()
  }

  /** Whether it has not taken what it was sent. */
  get behind (): boolean { return this.stream.readableLength > 0 }

  /** Tells the latest, after the pause when there is one; the last event waits for nothing, however much is not taken yet. */
  changed (): void {
    if (!this.#job.open) this.end(this.#text('end'))
    else if (this.#pausing) this.#due = true
    else this.#tell()
  }

  /** @param last what it is sent before */
  end (last?: string): void {
    this.#cancel()
    if (this.#ended || this.stream.destroyed) return
    this.#ended = true
    if (last !== undefined) this.stream.push(last)
    this.stream.push(null)
  }

  #tell (): void {
    // Whoever does not read in time loses this one, and gets a later one.
    if (this.stream.readableLength < BEHIND_BYTES) this.stream.push(this.#text('progress'))
    this.#due = false
    this.#pausing = true
    this.#after(EVERY_MS, () => {
      this.#pausing = false
      if (this.#due) this.#tell()
      else this.#comment()
    })
  }

  #comment (): void {
    this.#after(COMMENT_MS, () => {
      if (!this.behind) this.stream.push(':\n\n')
      this.#comment()
    })
  }

  #after (ms: number, callback: () => void): void {
    this.#cancel()
    this.#cancel = this.#timers.after(ms, callback)
  }

  #text (event: 'progress' | 'end'): string {
    return `id: ${++this.#number}\nevent: ${event}\ndata: ${JSON.stringify(this.#job.report())}\n\n`
  }
}

/** The progress of jobs as server-sent events. A slow listener loses events; no job waits for any. */
export class JobEvents {
  readonly #options: JobEventsOptions
  readonly #listeners = new Map<JobListener, Job<AnyWork>>()
  readonly #forgetWatcher: () => void
  #closed = false

  constructor (options: JobEventsOptions) {
    this.#options = options
    this.#forgetWatcher = options.jobs.onChange(changed => {
      for (const [listener, job] of this.#listeners) if (job === changed) listener.changed()
    })
  }

  get listeners (): number { return this.#listeners.size }

  /**
   * `progress` now, and whenever something has changed, but not more often than each {@link EVERY_MS}; `end` when the job has ended, and with it the stream.
   * @throws RelayError RELAY_ERR_EVENTS_BUSY, RELAY_ERR_STOPPING
   */
  listen (job: Job<AnyWork>): Readable {
    if (this.#closed) throw new RelayError('RELAY_ERR_STOPPING', 'the relay is stopping')
    if (this.#listeners.size >= MAX_LISTENERS) throw new RelayError('RELAY_ERR_EVENTS_BUSY', `${this.#listeners.size} listen to jobs already`)
    const listener = new JobListener(job, this.#options.timers, () => { this.#listeners.delete(listener) })
    this.#listeners.set(listener, job)
    return listener.stream
  }

  /** Ends every stream; whoever has not taken what was sent is cut off. */
  close (): void {
    this.#closed = true
    this.#forgetWatcher()
    for (const listener of this.#listeners.keys()) {
      listener.end()
      if (listener.behind) listener.stream.destroy()
    }
  }
}
