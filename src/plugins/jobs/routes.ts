import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { RelayError } from '../../base/errors.ts'
import { problems } from '../admin/schemas.ts'
import { reads, writes } from '../admin/route.ts'
import { sendEvents } from '../http/send-events.ts'
import type { WarmService } from '../warm/warm-service.ts'
import type { AnyWork } from './any-work.ts'
import type { JobEvents } from './job-events.ts'
import { MAX_KEPT_JOBS, MAX_OPEN_JOBS, type Job, type Jobs } from './jobs.ts'
import { RepairJob } from './repair-job.ts'
import type { Restore } from './restore.ts'
import { DocumentedJob, JobList, JobReport, NewJob } from './schemas.ts'

export interface JobRoutesOptions {
  readonly jobs: Jobs<AnyWork>
  readonly events: JobEvents
  readonly restore: Restore
  readonly warm: Pick<WarmService, 'begin' | 'save'>
}

/** As many shards as a job may name, each with the longest CID and a space here and there. */
const BODY_LIMIT = 3 * 1024 * 1024

const JobId = Type.Object({ id: Type.String({ minLength: 1, maxLength: 64, description: 'as in the list' }) })

/** `/jobs`: work that operators ask for. */
export const jobRoutes: FastifyPluginAsyncTypebox<JobRoutesOptions> = async (app, { jobs, events, restore, warm }) => {
  const find = (id: string): Job<AnyWork> => jobs.find(id) ?? (() => { throw new RelayError('RELAY_ERR_NOT_FOUND', 'there is no such job') })()

  app.get('/jobs', reads('jobs', {
    operationId: 'listJobs',
    summary: 'Jobs and their progress',
    description: `The newest first; at most ${MAX_KEPT_JOBS}. Warm jobs outlive the relay, the others do not.`
  }, JobList), async () => ({ jobs: jobs.list().map(job => job.report()) }))

  app.get('/jobs/:id', reads('jobs', {
    operationId: 'getJob',
    summary: 'One job and its progress',
    description: 'What became of each shard of a repair, and how many objects of a warm job came, is told as soon as it is known.',
    params: JobId
  }, JobReport, 404), async request => find(request.params.id).report())

  app.get('/jobs/:id/events', {
    schema: {
      operationId: 'listenToJob',
      summary: 'Progress of a job as server-sent events',
      description: 'Event `progress` now and after changes, four times a second at most, and `end` when the job has ended, each with the job as data; then the stream ends, as it does when the relay stops. Who does not read in time loses events.',
      tags: ['jobs'],
      params: JobId,
      response: { 200: { description: 'Server-sent events', content: { 'text/event-stream': { schema: { type: 'string' } } } }, ...problems(400, 401, 403, 404, 429, 503) }
    }
  }, async (request, reply) => {
    const stream = events.listen(find(request.params.id))
    return await sendEvents(request, reply, stream)
  })

  const creates = writes('jobs', {
    operationId: 'createJob',
    summary: 'Begin a job',
    description: `One of each type runs at a time, and ${MAX_OPEN_JOBS - 1} may wait. A repair that waits or runs for the CID already is the answer.`,
    body: NewJob
  }, JobReport, 503)
  app.post('/jobs', { ...creates, config: { ...creates.config, documentedBody: DocumentedJob }, bodyLimit: BODY_LIMIT }, async request => {
    const { body } = request
    if (body.type === 'repair') restore.requireRepair()
    const job = body.type === 'repair' ? jobs.add(new RepairJob(body.cid, restore)) : await warm.begin(body)
    request.log.info({ job: job.id, type: body.type, ...body.type === 'repair' ? { cid: body.cid } : {} }, 'job asked for')
    return job.report()
  })

  app.post('/jobs/:id/cancel', writes('jobs', {
    operationId: 'cancelJob',
    summary: 'End a job',
    description: 'It is remembered. What is under way for a warm job may still come. One that has ended stays as it is.',
    params: JobId
  }, JobReport, 404), async request => {
    const job = find(request.params.id)
    await jobs.cancel(job)
    await warm.save()
    request.log.info({ job: job.id, state: job.state }, 'job cancelled')
    return job.report()
  })

  app.post('/jobs/:id/retry', writes('jobs', {
    operationId: 'retryJob',
    summary: 'Try once more what failed of a warm job',
    description: 'And what was left when it was cancelled. A repair is asked for anew instead.',
    params: JobId
  }, JobReport, 404, 409, 503), async request => {
    const job = find(request.params.id)
    jobs.retry(job)
    await warm.save()
    request.log.info({ job: job.id }, 'job tried again')
    return job.report()
  })
}
