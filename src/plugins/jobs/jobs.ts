import { RelayError } from '../../base/errors.ts'
import type { ShardFate, Restore } from './restore.ts'

/** Jobs remembered, those under way included; the oldest that has ended goes first. */
export const MAX_KEPT_JOBS = 100
/** Jobs that wait or run. */
export const MAX_OPEN_JOBS = 16

/** `failed`: some shard is lost, or the job could not begin; `stopped`: the relay ended first. */
export type JobState = 'waiting' | 'running' | 'done' | 'failed' | 'stopped'

/** A job as operators see it. */
export interface Job {
  readonly id: string
  readonly type: 'repair'
  readonly cid: string
  state: JobState
  /** Why it failed; null otherwise. */
  detail: string | null
  /** By number of the shard. */
  readonly shards: ShardFate[]
  /** Milliseconds since the epoch. */
  readonly createdAt: number
  endedAt: number | null
}

export interface JobsOptions {
  readonly restore: Pick<Restore, 'begin' | 'shard' | 'shards'>
  /** A name that no other job has. */
  readonly newId: () => string
  /** Wall clock, ms since the epoch. */
  readonly now: () => number
  readonly log: (message: string, fields: Record<string, unknown>) => void
}

/** Work that operators ask for: one job at a time, in the order they came; a bounded number waits, and a bounded number is remembered. */
export class Jobs {
  readonly #options: JobsOptions
  /** The oldest first. */
  readonly #jobs = new Map<string, Job>()
  readonly #stop = new AbortController()
  #running: Promise<void> | undefined

  constructor (options: JobsOptions) {
    this.#options = options
  }

  /** The newest first. */
  list (): Job[] { return [...this.#jobs.values()].toReversed() }

  find (id: string): Job | undefined { return this.#jobs.get(id) }

  /**
   * Checks and restores all shards of a video. One that waits or runs for the CID already is that job.
   * @throws RelayError RELAY_ERR_JOBS_BUSY, RELAY_ERR_STOPPING
   */
  repair (cid: string): Job {
    if (this.#stop.signal.aborted) throw new RelayError('RELAY_ERR_STOPPING', 'the relay is stopping')
    const open = [...this.#jobs.values()].filter(isOpen)
    const same = open.find(job => job.cid === cid)
    if (same !== undefined) return same
    if (open.length >= MAX_OPEN_JOBS) throw new RelayError('RELAY_ERR_JOBS_BUSY', `${open.length} jobs wait or run already`)
    const { newId, now, restore } = this.#options
    const job: Job = { id: newId(), type: 'repair', cid, state: 'waiting', detail: null, shards: restore.shards.map(() => 'pending'), createdAt: now(), endedAt: null }
    this.#jobs.set(job.id, job)
    for (const old of this.#jobs.values()) if (this.#jobs.size > MAX_KEPT_JOBS && !isOpen(old)) this.#jobs.delete(old.id)
    this.#running ??= this.#run()
    return job
  }

  /** Stops what runs and what waits. */
  async close (): Promise<void> {
    this.#stop.abort(new RelayError('RELAY_ERR_STOPPING', 'the relay is stopping'))
    await this.#running
  }

  async #run (): Promise<void> {
    for (;;) {
      const job = [...this.#jobs.values()].find(({ state }) => state === 'waiting')
      if (job === undefined) break
      job.state = 'running'
      await this.#restore(job).catch((error: unknown) => {
        job.state = this.#stop.signal.aborted ? 'stopped' : 'failed'
        job.detail = error instanceof RelayError ? error.message : 'unexpected error'
      })
      job.endedAt = this.#options.now()
      this.#options.log('job has ended', { job: job.id, type: job.type, cid: job.cid, state: job.state, detail: job.detail, shards: job.shards })
    }
    this.#running = undefined
  }

  async #restore (job: Job): Promise<void> {
    const { signal } = this.#stop
    const { restore } = this.#options
    if (signal.aborted) throw signal.reason
    const expected = await restore.begin(job.cid)
    for (const part of restore.shards) {
      if (signal.aborted) throw signal.reason
      job.shards[part] = await restore.shard({ cid: job.cid, part }, expected(part), signal)
    }
    if (signal.aborted) throw signal.reason
    const without = job.shards.flatMap((fate, part) => fate === 'lost' || fate === 'unstored' ? [`${part} (${fate})`] : [])
    job.state = without.length === 0 ? 'done' : 'failed'
    if (without.length > 0) job.detail = `without shards ${without.join(', ')}`
  }
}

function isOpen ({ state }: Job): boolean {
  return state === 'waiting' || state === 'running'
}
