import { RelayError } from '../../base/errors.ts'

/** Jobs remembered, those under way included; the oldest that has ended goes first. */
export const MAX_KEPT_JOBS = 100
/** Jobs of one type that wait or run. */
export const MAX_OPEN_JOBS = 16

/** `failed`: see the detail; `cancelled`: by an operator; `stopped`: the relay ended first. */
export const JOB_STATES = ['waiting', 'running', 'done', 'failed', 'cancelled', 'stopped'] as const

export type JobState = (typeof JOB_STATES)[number]

/** What a job does: each type of job has a class of its own, and each job an instance. */
export interface JobWork {
  readonly type: string
  /** Of two open jobs of a type with the same subject the first is both; undefined where each is one of its own. */
  readonly subject: string | undefined
  /** What operators see of it, besides what every job has. */
  report (): object
  /**
   * Does it, or what is left of it.
   * @param changed to be called when the report has changed
   * @returns why it failed; null when it is done
   * @throws the reason of the signal; what else it cannot go on for
   */
  run (signal: AbortSignal, changed: () => void): Promise<string | null>
  /** Makes what failed part of the work again. @returns whether anything is left to do; a type without it cannot be tried again */
  retry? (): boolean
}

/** What every job has; times are wall clock, ms since the epoch. */
export interface JobHead {
  readonly id: string
  readonly createdAt: number
  readonly state: JobState
  /** Why it failed, or ended early; null otherwise. */
  readonly detail: string | null
  readonly endedAt: number | null
}

/** The reason of the signal of a job that an operator cancels. */
class CancelledError extends Error {}

/** Work with its state. */
export class Job<W extends JobWork = JobWork> implements JobHead {
  readonly id: string
  readonly createdAt: number
  readonly work: W
  state: JobState
  detail: string | null
  endedAt: number | null

  constructor (work: W, { id, createdAt, state, detail, endedAt }: JobHead) {
    this.id = id
    this.createdAt = createdAt
    this.work = work
    this.state = state
    this.detail = detail
    this.endedAt = endedAt
  }

  /** Whether it waits or runs. */
  get open (): boolean { return this.state === 'waiting' || this.state === 'running' }

  report (): JobHead & ReturnType<W['report']> {
    const { id, state, detail, createdAt, endedAt } = this
    return { id, state, detail, createdAt, endedAt, ...this.work.report() as ReturnType<W['report']> }
  }
}

export interface JobsOptions {
  /** A name that no other job has. */
  readonly newId: () => string
  /** Wall clock, ms since the epoch. */
  readonly now: () => number
  readonly log: (message: string, fields: Record<string, unknown>) => void
}

interface Running {
  readonly ending: AbortController
  readonly ended: Promise<void>
}

/** Work that operators ask for: one job of each type at a time, in the order they came; a bounded number waits, and a bounded number is remembered. */
export class Jobs<W extends JobWork> {
  readonly #options: JobsOptions
  /** The oldest first. */
  readonly #jobs = new Map<string, Job<W>>()
  readonly #running = new Map<Job<W>, Running>()
  /** Types of which a job runs, or is about to. */
  readonly #busy = new Map<string, Promise<void>>()
  readonly #watchers = new Set<(job: Job<W>) => void>()
  #stopping: RelayError | undefined

  constructor (options: JobsOptions) {
    this.#options = options
  }

  /** The newest first. */
  list (): Job<W>[] { return [...this.#jobs.values()].toReversed() }

  find (id: string): Job<W> | undefined { return this.#jobs.get(id) }

  /** Calls back after every change of a job; it must not throw. Returns a function that ends that. */
  onChange (watcher: (job: Job<W>) => void): () => void {
    this.#watchers.add(watcher)
    return () => { this.#watchers.delete(watcher) }
  }

  /**
   * Queues work. One that waits or runs for its subject already is that job.
   * @throws RelayError RELAY_ERR_JOBS_BUSY, RELAY_ERR_STOPPING
   */
  add (work: W): Job<W> {
    const same = this.#open(work.type).find(job => work.subject !== undefined && job.work.subject === work.subject)
    this.#admit(same === undefined ? work.type : undefined)
    if (same !== undefined) return same
    const { newId, now } = this.#options
    return this.#keep(new Job(work, { id: newId(), state: 'waiting', detail: null, createdAt: now(), endedAt: null }))
  }

  /** Takes over a job of an earlier run of the relay; one that had not ended goes on. */
  takeOver (job: Job<W>): void {
    this.#keep(job)
  }

  /** Ends a job, if it has not ended; it is remembered. */
  async cancel (job: Job<W>): Promise<void> {
    const running = this.#running.get(job)
    if (running !== undefined) {
      running.ending.abort(new CancelledError('an operator has cancelled it'))
      await running.ended
    } else if (job.open) {
      this.#end(job, 'cancelled', 'an operator has cancelled it')
    }
  }

  /**
   * Does what failed of a job once more, and what was left when it was cancelled.
   * @throws RelayError RELAY_ERR_JOB_STATE, RELAY_ERR_JOBS_BUSY, RELAY_ERR_STOPPING
   */
  retry (job: Job<W>): void {
    this.#admit(job.open ? undefined : job.work.type)
    if (job.work.retry === undefined) throw new RelayError('RELAY_ERR_JOB_STATE', `a job of type ${job.work.type} is not tried again: ask for a new one`)
    if (!job.work.retry()) throw new RelayError('RELAY_ERR_JOB_STATE', 'nothing of the job has failed or is left to do')
    if (!job.open) {
      job.state = 'waiting'
      job.detail = null
      job.endedAt = null
    }
    this.#changed(job)
    this.#wake(job.work.type)
  }

  /** Forgets a job that has ended. */
  forget (job: Job<W>): void {
    if (!job.open) this.#jobs.delete(job.id)
  }

  /** Stops what runs and what waits; idempotent. */
  async close (): Promise<void> {
    const reason = this.#stopping ??= new RelayError('RELAY_ERR_STOPPING', 'the relay is stopping')
    for (const job of this.#jobs.values()) if (job.state === 'waiting') this.#end(job, 'stopped', reason.message)
    for (const { ending } of this.#running.values()) ending.abort(reason)
    await Promise.all(this.#busy.values())
  }

  #open (type: string): Job<W>[] {
    return [...this.#jobs.values()].filter(job => job.open && job.work.type === type)
  }

  /** @param type of which one more is to be open; undefined for none */
  #admit (type: string | undefined): void {
    if (this.#stopping !== undefined) throw this.#stopping
    const open = type === undefined ? 0 : this.#open(type).length
    if (open >= MAX_OPEN_JOBS) throw new RelayError('RELAY_ERR_JOBS_BUSY', `${open} jobs of type ${type} wait or run already`)
  }

  #keep (job: Job<W>): Job<W> {
    this.#jobs.set(job.id, job)
    for (const old of this.#jobs.values()) if (this.#jobs.size > MAX_KEPT_JOBS && old !== job) this.forget(old)
    this.#changed(job)
    if (job.open) this.#wake(job.work.type)
    return job
  }

  #wake (type: string): void {
    if (!this.#busy.has(type)) this.#busy.set(type, this.#runAll(type))
  }

  async #runAll (type: string): Promise<void> {
    for (;;) {
      const job = this.#open(type).find(({ state }) => state === 'waiting')
      if (job === undefined) break
      const ending = new AbortController()
      const ended = this.#runOne(job, ending.signal)
      this.#running.set(job, { ending, ended })
      await ended
      this.#running.delete(job)
    }
    this.#busy.delete(type)
  }

  async #runOne (job: Job<W>, signal: AbortSignal): Promise<void> {
    const changed = (): void => { this.#changed(job) }
    job.state = 'running'
    changed()
    try {
      const detail = await job.work.run(signal, changed)
      this.#end(job, detail === null ? 'done' : 'failed', detail)
    } catch (error) {
      const known = error instanceof RelayError || error instanceof CancelledError
      const state = !signal.aborted ? 'failed' : signal.reason instanceof CancelledError ? 'cancelled' : 'stopped'
      this.#end(job, state, known ? error.message : 'unexpected error')
    }
  }

  #end (job: Job<W>, state: JobState, detail: string | null): void {
    job.state = state
    job.detail = detail
    job.endedAt = this.#options.now()
    const { id: _id, createdAt: _createdAt, endedAt: _endedAt, ...fields } = job.report()
    this.#options.log('job has ended', { job: job.id, ...fields })
    this.#changed(job)
  }

  #changed (job: Job<W>): void {
    for (const watcher of this.#watchers) watcher(job)
  }
}
