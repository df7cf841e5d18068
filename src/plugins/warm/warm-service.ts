import type { Timers } from '../../base/clock.ts'
import { RelayError } from '../../base/errors.ts'
import { cidOfId } from '../../protocol/shard-key.ts'
import type { AnyWork } from '../jobs/any-work.ts'
import { JOB_STATES, type Job, type Jobs, type JobState } from '../jobs/jobs.ts'
import { WarmJob, type WarmRelay, type WarmSource } from './warm-job.ts'
import { videosOf, type WarmRequest } from './warm-request.ts'
import { jobOf, keptJob, MAX_VIDEOS, WARM_STATE_VERSION, warmStateText, type FeedState, type WarmState } from './warm-state.ts'

export interface WarmServiceOptions {
  readonly jobs: Jobs<AnyWork>
  readonly relay: WarmRelay
  readonly state: WarmState
  /** Objects of a job at the same time, when it does not say. */
  readonly concurrency: number
  /** Path of manifests at super-nodes, with `{cid}`. */
  readonly manifestPath: string
  /** Keeps the text of the state; may reject. */
  readonly keep: (text: string) => Promise<void>
  /** Makes sure that the index of the cache has what was stored until now; must not reject. */
  readonly flushIndex: () => Promise<void>
  readonly timers: Timers
  readonly log: (message: string, fields: Record<string, unknown>) => void
}

/** What has changed is written so often, ms: a crash costs no more than looking at the objects of that time again. */
export const KEEP_MS = 1_000

/** The warm jobs of a relay, which go on after a restart. */
export class WarmService {
  readonly #options: WarmServiceOptions
  readonly #forgetWatcher: () => void
  #feed: FeedState | null
  #saving: Promise<void> = Promise.resolve()
  #cancel: (() => void) | undefined
  /** The text that the file has. */
  #kept: string
  #failing = false
  #closed = false

  constructor (options: WarmServiceOptions) {
    this.#options = options
    const { jobs, state, relay } = options
    this.#feed = state.feed
    this.#kept = warmStateText(state)
    for (const kept of state.jobs) jobs.takeOver(jobOf(kept, relay))
    this.#forgetWatcher = jobs.onChange(({ work }) => { if (work instanceof WarmJob) this.#soon() })
  }

  /** The newest first. */
  list (): Job<WarmJob>[] { return this.#options.jobs.list().filter(isWarm) }

  /** Tags that jobs give a CID of which something is to come. */
  tagsOf (cid: string): string[] {
    return this.list().flatMap(({ open, work }) => open && work.tags.length > 0 && work.lists(cid) ? work.tags : [])
  }

  /** How many there are in each state. */
  states (): Map<JobState, number> {
    const jobs = this.list()
    return new Map(JOB_STATES.map(state => [state, jobs.filter(job => job.state === state).length]))
  }

  /**
   * Queues a job; it is kept when this resolves, if the disk takes it.
   * @param feed what the feed has, when it asks: kept together with the job
   * @throws RelayError RELAY_ERR_BAD_REQUEST, RELAY_ERR_JOBS_BUSY, RELAY_ERR_STOPPING
   */
  async begin (request: WarmRequest & { readonly concurrency?: number | undefined }, source: WarmSource = 'operator', feed?: FeedState): Promise<Job<WarmJob>> {
    const { jobs, relay, concurrency, manifestPath } = this.#options
    const videos = videosOf(request, manifestPath)
    this.#makeRoom(videos.length)
    const asked = new Set(videos.map(({ cid }) => cid))
    // Whoever asks for them wants them tried, however short ago nobody had them.
    relay.forgetMissing(id => asked.has(cidOfId(id)))
    const { tags = [] } = request
    for (const cid of asked) relay.tag(cid, tags)
    const job = jobs.add(new WarmJob({ source, tags, concurrency: request.concurrency ?? concurrency, videos }, relay))
    if (!isWarm(job)) throw new RelayError('RELAY_ERR_INTERNAL', 'a warm job is of another type')
    if (feed !== undefined) this.#feed = feed
    await this.save()
    return job
  }

  /** Keeps what the feed has, of which nothing is new. */
  async keepFeed (feed: FeedState): Promise<void> {
    this.#feed = feed
    await this.save()
  }

  /** Writes the state, if it has changed. Never rejects: jobs go on when the disk refuses, and end with the relay then. */
  async save (): Promise<void> {
    this.#cancel?.()
    this.#cancel = undefined
    // One after the other: of two at the same time the older might be the last to be kept.
    await (this.#saving = this.#saving.then(async () => { await this.#save() }))
  }

  /** After the jobs have been stopped. */
  async close (): Promise<void> {
    this.#forgetWatcher()
    this.#closed = true
    await this.save()
  }

  async #save (): Promise<void> {
    const { keep, flushIndex, log } = this.#options
    const text = warmStateText({ version: WARM_STATE_VERSION, jobs: this.list().toReversed().map(keptJob), feed: this.#feed })
    if (text === this.#kept) return
    try {
      // What the state says is here must be here after a crash.
      await flushIndex()
      await keep(text)
      this.#kept = text
      this.#failing = false
    } catch (error) {
      if (!this.#failing) log('warm jobs cannot be kept: they would end with the relay', { reason: error instanceof Error ? error.message : String(error) })
      this.#failing = true
    }
  }

  #soon (): void {
    if (this.#closed || this.#cancel !== undefined) return
    this.#cancel = this.#options.timers.after(KEEP_MS, () => {
      this.#cancel = undefined
      void this.save()
    })
  }

  /** Forgets ended jobs, the oldest first, that have too much left. @throws RelayError RELAY_ERR_JOBS_BUSY when open ones have */
  #makeRoom (videos: number): void {
    const jobs = this.list().toReversed()
    let listed = jobs.reduce((sum, { work }) => sum + work.listed, videos)
    const open = jobs.reduce((sum, job) => sum + (job.open ? job.work.listed : 0), videos)
    if (open > MAX_VIDEOS) throw new RelayError('RELAY_ERR_JOBS_BUSY', `open warm jobs have ${open - videos} videos left, and there may be ${MAX_VIDEOS}`)
    for (const job of jobs) {
      if (listed <= MAX_VIDEOS) break
      if (job.open) continue
      listed -= job.work.listed
      this.#options.jobs.forget(job)
    }
  }
}

function isWarm (job: Job<AnyWork>): job is Job<WarmJob> {
  return job.work instanceof WarmJob
}
