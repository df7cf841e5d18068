import Type, { type Static, type TSchema } from 'typebox'
import { MAX_TAGS } from '../../protocol/manifest.ts'
import { Bytes, Cid, Millis, Part, Tag } from '../admin/schemas.ts'
import { MAX_CONCURRENCY } from '../warm/config.ts'
import { MAX_FAILURES } from '../warm/warm-job.ts'
import { MAX_JOB_SHARDS, MAX_JOB_VIDEOS } from '../warm/warm-request.ts'
import { JOB_STATES, MAX_KEPT_JOBS } from './jobs.ts'
import { SHARD_FATES } from './restore.ts'

const oneOf = <const T extends readonly string[]>(names: T, description: string) => Type.Unsafe<T[number]>(Type.Union(names.map(name => Type.Literal(name)), { description }))
const orNull = <S extends TSchema>(schema: S) => Type.Union([schema, Type.Null()])
const Count = (description: string) => Type.Integer({ minimum: 0, description })
const closed = { additionalProperties: false }

export const NewRepair = Type.Object({
  type: Type.Literal('repair', { description: 'checks all 14 shards of a video, and fetches or rebuilds those that are missing or wrong' }),
  cid: Cid
}, closed)

export const NewWarm = Type.Object({
  type: Type.Literal('warm', { description: 'brings objects into the cache that are not there; exactly one of `cids`, `manifest` and `shards` says which' }),
  cids: Type.Optional(Type.Array(Cid, { minItems: 1, maxItems: MAX_JOB_VIDEOS, description: 'whole videos: manifest and data shards' })),
  manifest: Type.Optional(Type.String({ minLength: 1, maxLength: 2_048, description: 'URL of the manifest of a whole video; its path names the CID, and it is not fetched itself' })),
  shards: Type.Optional(Type.Array(Type.Object({ cid: Cid, part: Part }, closed), { minItems: 1, maxItems: MAX_JOB_SHARDS, description: `single objects, of at most ${MAX_JOB_VIDEOS} videos` })),
  parity: Type.Optional(Type.Boolean({ description: 'parity shards of whole videos too; without it they are left out' })),
  tags: Type.Optional(Type.Array(Tag, { maxItems: MAX_TAGS, description: 'given to the CIDs, for a purge by tag' })),
  concurrency: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_CONCURRENCY, description: 'objects at the same time; warm.concurrency without it' }))
}, closed)

/** The type of the job decides which of the two the rest is compared with, and so what an error says. */
export const NewJob = Type.Unsafe<Static<typeof NewRepair> | Static<typeof NewWarm>>({ type: 'object', required: ['type'], discriminator: { propertyName: 'type' }, oneOf: [NewRepair, NewWarm] })

/** The same for `openapi.yaml`, in which a discriminator has the names of schemas. */
export const DocumentedJob = Type.Union([NewRepair, NewWarm])

const HEAD = {
  id: Type.String(),
  state: oneOf(JOB_STATES, 'failed: see `detail`; cancelled: by an operator; stopped: the relay ended first'),
  detail: orNull(Type.String({ description: 'why it failed, or ended early' })),
  createdAt: Millis('when it was asked for'),
  endedAt: orNull(Millis('when it ended'))
}

export const RepairReport = Type.Object({
  ...HEAD,
  type: Type.Literal('repair'),
  cid: Cid,
  shards: Type.Array(oneOf(SHARD_FATES, 'present: the cache had it, and its bytes are right; unstored: it can be had, and the cache did not keep it; lost: no super-node delivers it, and it cannot be rebuilt'), { minItems: 14, maxItems: 14, description: 'by number' })
})

export const WarmReport = Type.Object({
  ...HEAD,
  type: Type.Literal('warm'),
  source: oneOf(['operator', 'feed'], 'who asked for it'),
  videos: Count('of how many videos it brings in objects'),
  concurrency: Type.Integer({ minimum: 1, description: 'objects at the same time' }),
  waitsFor: orNull(oneOf(['load', 'drain', 'start', 'super-nodes'], 'why it stands still: load, a drain, the cache after a start, super-nodes that deliver nothing')),
  counts: Type.Object({
    total: Count('shards and manifests'),
    pending: Count('still to come, those under way included'),
    fetched: Count('brought in by the job'),
    present: Count('the cache had it already, or a viewer had it brought in'),
    failed: Count('could not be brought in, or the cache did not keep it')
  }),
  bytes: Bytes('fetched'),
  bytesPerSecond: Bytes('over the last 30 seconds'),
  etaSeconds: orNull(Count('time until nothing is pending, as fast as of late; null while that cannot be told')),
  failures: Type.Array(Type.Object({ cid: Cid, part: Part, code: Type.String({ pattern: '^RELAY_ERR_' }) }), { maxItems: MAX_FAILURES, description: 'the first of those that failed; RELAY_ERR_NOT_CACHED: it came, and the cache did not keep it' })
})

export const JobReport = Type.Union([RepairReport, WarmReport])

export const JobList = Type.Object({ jobs: Type.Array(JobReport, { maxItems: MAX_KEPT_JOBS, description: 'the newest first' }) })
