import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { RelayError } from '../../base/errors.ts'
import { reads, writes } from '../admin/route.ts'
import { Cid, JobList, JobReport } from '../admin/schemas.ts'
import type { Jobs } from './jobs.ts'
import type { Restore } from './restore.ts'

export interface JobRoutesOptions {
  readonly jobs: Jobs
  readonly restore: Pick<Restore, 'requireRepair'>
}

const NewJob = Type.Object({
  type: Type.Literal('repair', { description: 'checks all 14 shards of a video, and fetches or rebuilds those that are missing or wrong' }),
  cid: Cid
}, { additionalProperties: false })

const JobId = Type.Object({ id: Type.String({ minLength: 1, maxLength: 64, description: 'as in the list' }) })

/** `/jobs`: work that operators ask for. */
export const jobRoutes: FastifyPluginAsyncTypebox<JobRoutesOptions> = async (app, { jobs, restore }) => {
  app.get('/jobs', reads('jobs', {
    operationId: 'listJobs',
    summary: 'Jobs and their progress',
    description: 'The newest first; at most 100, and none outlives the relay.'
  }, JobList), async () => ({ jobs: jobs.list() }))

  app.get('/jobs/:id', reads('jobs', {
    operationId: 'getJob',
    summary: 'One job and its progress',
    description: 'The fate of each shard is told as soon as it is known.',
    params: JobId
  }, JobReport, 404), async request => {
    const job = jobs.find(request.params.id)
    if (job === undefined) throw new RelayError('RELAY_ERR_NOT_FOUND', 'there is no such job')
    return job
  })

  app.post('/jobs', writes('jobs', {
    operationId: 'createJob',
    summary: 'Begin a job',
    description: 'One runs at a time and 15 may wait. One that waits or runs for the CID already is the answer.',
    body: NewJob
  }, JobReport, 503), async request => {
    restore.requireRepair()
    const job = jobs.repair(request.body.cid)
    request.log.info({ job: job.id, cid: job.cid }, 'job asked for')
    return job
  })
}
