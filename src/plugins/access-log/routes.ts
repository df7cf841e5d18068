import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type, { type Static } from 'typebox'
import { LOG_LEVELS, type LogLevelName } from '../../base/log-level.ts'
import { readsSettings, writesSettings } from '../admin/route.ts'
import { problems } from '../admin/schemas.ts'
import { sendEvents } from '../http/send-events.ts'
import type { LiveConfig } from '../live-config/live-config.ts'
import type { AccessLog } from './access-log.ts'
import { STATUS_FILTER } from './record-filter.ts'
import { MAX_LISTENERS } from './record-stream.ts'

export interface LogRoutesOptions {
  readonly accessLog: AccessLog
  readonly live: Pick<LiveConfig, 'config' | 'set'>
}

const Level = Type.Unsafe<LogLevelName>(Type.String({ enum: LOG_LEVELS, description: 'least severe level that is written; not of the access log' }))
const Share = (what: string) => Type.Number({ minimum: 0, maximum: 1, description: `share of the ${what} that have a line` })
const Count = (description: string) => Type.Integer({ minimum: 0, description })

const SETTINGS = { level: Level, sampleHits: Share('hits'), sampleMisses: Share('misses') } as const

const LogReport = Type.Object({
  ...SETTINGS,
  lines: Count('of the access log, since the relay started'),
  dropped: Type.Object({
    file: Count('lines: the file could not be written, or not in time'),
    budget: Count('failed requests: too many in a second'),
    gateway: Count('records of sessions: too many for their way to the relay'),
    listener: Count('records: a stream was not read in time')
  }, { description: 'since the relay started' }),
  listeners: Count('of the stream')
})

const Change = Type.Partial(Type.Object(SETTINGS), { additionalProperties: false, minProperties: 1 })

const Filter = Type.Object({
  object: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9_-]{1,128}(?:/(?:[0-9]{1,2}|manifest))?$', description: 'a CID, or one object of it as `<CID>/<part>`' })),
  address: Type.Optional(Type.String({ minLength: 1, maxLength: 64, description: 'of a viewer' })),
  status: Type.Optional(Type.String({ pattern: STATUS_FILTER, description: 'a status, or a hundred of them as `5xx`' })),
  slowerThanMs: Type.Optional(Type.Number({ minimum: 0, description: 'only responses that took longer' }))
}, { additionalProperties: false })

/** `/log`: what is written, changed while the relay runs, and what happens now. */
export const logRoutes: FastifyPluginAsyncTypebox<LogRoutesOptions> = async (app, { accessLog, live }) => {
  const report = (): Static<typeof LogReport> => {
    const { settings: { sampleHits, sampleMisses }, lines, dropped, stream: { listeners } } = accessLog
    return { level: live.config.log.level, sampleHits, sampleMisses, lines, dropped: { ...dropped }, listeners }
  }

  app.get('/log', readsSettings('log', {
    operationId: 'getLog',
    summary: 'Level of the log, sampling of the access log, and what was lost',
    description: 'Of both processes.'
  }, LogReport), async () => report())

  app.patch('/log', writesSettings('log', {
    operationId: 'changeLog',
    summary: 'Change level or sampling',
    description: 'What is not named stays. Holds from the next line on, in both processes, and over restarts, until it is dropped: `DELETE /config/overrides`.',
    body: Change
  }, LogReport, 500, 503), async request => {
    const { level, sampleHits, sampleMisses } = request.body
    const wanted = { 'log.level': level, 'access_log.sample_hits': sampleHits, 'access_log.sample_misses': sampleMisses }
    await live.set(Object.fromEntries(Object.entries(wanted).filter(([, value]) => value !== undefined)), request.headers['if-match'])
    request.log.warn(request.body, 'log changed')
    return report()
  })

  app.get('/log/stream', {
    schema: {
      operationId: 'listenToLog',
      summary: 'Responses as they end, as server-sent events',
      description: `Event \`request\` for each response that the filter wants, whether sampling leaves it a line or not, with the record as data; \`lost\` with the number of records that this listener did not read in time, or that never came here. At most ${MAX_LISTENERS} listen at the same time.`,
      tags: ['log'],
      querystring: Filter,
      response: { 200: { description: 'Server-sent events', content: { 'text/event-stream': { schema: { type: 'string' } } } }, ...problems(400, 401, 403, 429, 503) }
    }
  }, async (request, reply) => {
    const stream = accessLog.stream.listen(request.query)
    return await sendEvents(request, reply, stream)
  })
}
