/** What warm jobs and the feed keep across restarts, and its file. */
import Type, { type Static } from 'typebox'
import { ERRORS, RelayError, type ErrorCode } from '../../base/errors.ts'
import { schemaCheck } from '../../base/schema-check.ts'
import { loadState, parseState } from '../../base/state-file.ts'
import { MAX_TAGS, TAG } from '../../protocol/manifest.ts'
import { CID, type ObjectPart } from '../../protocol/shard-key.ts'
import { Job, MAX_KEPT_JOBS, MAX_OPEN_JOBS } from '../jobs/jobs.ts'
import { MAX_CONCURRENCY } from './config.ts'
import { MAX_RECENT } from './recent.ts'
import { MAX_FAILURES, WarmJob, type WarmRelay } from './warm-job.ts'
import { MAX_JOB_VIDEOS } from './warm-request.ts'
import { OBJECTS } from './warm-list.ts'

export const WARM_STATE_VERSION = 1
/** Videos that are not through, of all jobs that are kept. */
export const MAX_VIDEOS = 16_000
/** A file of as many videos as there may be, each with the longest CID, and of as many jobs, is smaller. */
export const MAX_STATE_BYTES = 4 * 1024 * 1024

const MAX_DETAIL_CHARS = 500

const Count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
/** Wall clock, ms since the epoch. */
const Time = Type.Number({ minimum: 0 })
const Cid = Type.String({ pattern: CID.source })
const closed = { additionalProperties: false }

const KeptJob = Type.Object({
  id: Type.String({ pattern: '^[0-9a-f-]{1,64}$' }),
  /** `open`: goes on. */
  state: Type.Union([Type.Literal('open'), Type.Literal('done'), Type.Literal('failed'), Type.Literal('cancelled')]),
  detail: Type.Union([Type.String({ maxLength: MAX_DETAIL_CHARS }), Type.Null()]),
  createdAt: Time,
  endedAt: Type.Union([Time, Type.Null()]),
  source: Type.Union([Type.Literal('operator'), Type.Literal('feed')]),
  tags: Type.Optional(Type.Array(Type.String({ pattern: TAG.source }), { maxItems: MAX_TAGS })),
  concurrency: Type.Integer({ minimum: 1, maximum: MAX_CONCURRENCY }),
  bytes: Count,
  through: Type.Object({ videos: Type.Integer({ minimum: 0, maximum: MAX_JOB_VIDEOS }), fetched: Count, present: Count }, closed),
  videos: Type.Array(Type.Object({ cid: Cid, parts: Type.String({ pattern: `^[-.+=!]{${OBJECTS}}$` }) }, closed), { maxItems: MAX_JOB_VIDEOS }),
  failures: Type.Array(Type.Object({
    cid: Cid,
    part: Type.Unsafe<ObjectPart>({ anyOf: [{ type: 'integer', minimum: 0, maximum: OBJECTS - 2 }, { const: 'manifest' }] }),
    code: Type.Unsafe<ErrorCode>({ type: 'string', enum: Object.keys(ERRORS) })
  }, closed), { maxItems: MAX_FAILURES })
}, closed)

const StateFile = Type.Object({
  version: Type.Literal(WARM_STATE_VERSION),
  /** The oldest first. */
  jobs: Type.Array(KeptJob, { maxItems: MAX_KEPT_JOBS }),
  /** What the feed had when it was last read, and of which URL. */
  feed: Type.Union([Type.Object({
    url: Type.String({ maxLength: 2_048 }),
    etag: Type.Union([Type.String({ maxLength: 1_024 }), Type.Null()]),
    cids: Type.Array(Cid, { maxItems: MAX_RECENT })
  }, closed), Type.Null()])
}, closed)

export type WarmState = Static<typeof StateFile>
export type KeptWarmJob = WarmState['jobs'][number]
export type FeedState = NonNullable<WarmState['feed']>

const stateCheck = schemaCheck<WarmState>(StateFile)

export function newWarmState (): WarmState {
  return { version: WARM_STATE_VERSION, jobs: [], feed: null }
}

export function warmStateText (state: WarmState): string {
  return `${JSON.stringify(state)}\n`
}

function wrong (detail: string): never {
  throw new RelayError('RELAY_ERR_CONFIG', detail)
}

/** What the schema cannot say: a sentence, or undefined. */
function contradiction ({ jobs }: WarmState): string | undefined {
  if (new Set(jobs.map(({ id }) => id)).size < jobs.length) return 'two jobs have one id'
  if (jobs.filter(({ state }) => state === 'open').length > MAX_OPEN_JOBS) return `more than ${MAX_OPEN_JOBS} jobs are open`
  if (jobs.reduce((sum, { videos }) => sum + videos.length, 0) > MAX_VIDEOS) return `the jobs have more than ${MAX_VIDEOS} videos`
  for (const { id, state, endedAt, videos } of jobs) {
    if (new Set(videos.map(({ cid }) => cid)).size < videos.length) return `job ${id} has a video twice`
    if ((state === 'open') !== (endedAt === null)) return `job ${id} has ended, or not`
  }
  return undefined
}

/** @throws RelayError RELAY_ERR_CONFIG when the text is not a state of this version */
export function parseWarmState (text: string): WarmState {
  const state = parseState(text, stateCheck(), WARM_STATE_VERSION)
  const problem = contradiction(state)
  return problem === undefined ? state : wrong(problem)
}

/** The state kept in a file; a new one when there is none, and, with an error in the log, when it cannot be used: see {@link loadState}. */
export async function loadWarmState (file: string, tell: (message: string, fields: Record<string, unknown>) => void): Promise<WarmState> {
  const state = await loadState(file, MAX_STATE_BYTES, parseWarmState, fields => { tell('warm jobs of earlier cannot be read: none goes on', fields) })
  return state ?? newWarmState()
}

/** A job as it is kept; one that a stopping relay has ended goes on later. */
export function keptJob ({ id, state, detail, createdAt, endedAt, work }: Job<WarmJob>): KeptWarmJob {
  const { videos, failures, through, tags, ...rest } = work.snapshot()
  // What is written has to be read again, whatever it was.
  const told = detail?.slice(0, MAX_DETAIL_CHARS) ?? null
  const begun = { id, createdAt, ...rest, ...tags.length === 0 ? {} : { tags: [...tags] }, through: { ...through }, videos: [...videos], failures: failures.map(failure => ({ ...failure })) }
  if (state === 'done' || state === 'failed' || state === 'cancelled') return { ...begun, state, detail: told, endedAt }
  return { ...begun, state: 'open', detail: null, endedAt: null }
}

/** Inverse of {@link keptJob}. */
export function jobOf ({ id, state, detail, createdAt, endedAt, ...start }: KeptWarmJob, relay: WarmRelay): Job<WarmJob> {
  return new Job(new WarmJob(start, relay), { id, createdAt, detail, endedAt, state: state === 'open' ? 'waiting' : state })
}
