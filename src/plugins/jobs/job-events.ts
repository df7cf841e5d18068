import type { Readable } from 'node:stream'
import type { Timers } from '../../base/clock.ts'
import { RelayError } from '../../base/errors.ts'
import { EventStream } from '../../base/event-stream.ts'
import type { AnyWork } from './any-work.ts'
import type { Job, Jobs } from './jobs.ts'

/** Listeners at the same time, of all jobs. */
export const MAX_LISTENERS = 32
/** Least time between two events of a listener, ms. */
export const EVERY_MS = 250
/** What a listener may be behind before it loses events, bytes: four of the longest. */
const BEHIND_BYTES = 16 * 1024

export interface JobEventsOptions {
  readonly jobs: Pick<Jobs<AnyWork>, 'onChange'>
  readonly timers: Timers
}

/** Somebody who is told of one job. */
class JobListener {
  readonly events: EventStream
  readonly #job: Job<AnyWork>
  readonly #timers: Timers
  #cancel: () => void = () => {}
  /** Whether the last event was a moment ago, and whether another is due after the pause. */
  #pausing = false
  #due = false

  constructor (job: Job<AnyWork>, timers: Timers, closed: () => void) {
    this.#job = job
    this.#timers = timers
    this.events = new EventStream({
      behindBytes: BEHIND_BYTES,
      timers,
      closed: () => {
        this.#cancel()
        closed()
      }
    })
    this.changed()
  }

  /** Tells the latest, after the pause when there is one; the last event waits for nothing, however much is not taken yet. */
  changed (): void {
    if (!this.#job.open) {
      this.#cancel()
      this.events.end('end', this.#report())
    } else if (this.#pausing) this.#due = true
    else this.#tell()
  }

  #tell (): void {
    // Whoever does not read in time loses this one, and gets a later one.
    this.events.send('progress', this.#report())
    this.#due = false
    this.#pausing = true
    this.#cancel = this.#timers.after(EVERY_MS, () => {
      this.#pausing = false
      if (this.#due) this.#tell()
    })
  }

  #report (): string { return JSON.stringify(this.#job.report()) }
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
    return listener.events.stream
  }

  /** Ends every stream; whoever has not taken what was sent is cut off. */
  close (): void {
    this.#closed = true
    this.#forgetWatcher()
    for (const listener of this.#listeners.keys()) {
      listener.events.cut()
    }
  }
}
