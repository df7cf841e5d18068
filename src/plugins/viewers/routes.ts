import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { RelayError } from '../../base/errors.ts'
import { reads, writes } from '../admin/route.ts'
import { problems } from '../admin/schemas.ts'
import type { LiveRecord } from './live-record.ts'
import { ViewerList } from './schemas.ts'
import type { Supervisor } from './supervisor.ts'

/** Time that viewers have to move where nobody says another, ms. */
const DEADLINE_MS = 30_000

const Drain = Type.Object({
  deadlineMs: Type.Optional(Type.Integer({ minimum: 0, maximum: 3_600_000, default: DEADLINE_MS, description: 'time viewers have to move' })),
  alternates: Type.Optional(Type.Array(Type.String({ pattern: '^https?://', maxLength: 256 }), { maxItems: 16, default: [], description: 'relays to move to, best first' }))
}, { additionalProperties: false })

/** `/viewers` and `/drain`: sessions of the gateway. */
export const viewerRoutes: FastifyPluginAsyncTypebox<{ supervisor: Supervisor | undefined, live: LiveRecord }> = async (app, { supervisor, live }) => {
  /** @throws RelayError RELAY_ERR_GATEWAY when there is never one */
  const gateway = (): Supervisor => {
    if (supervisor === undefined) throw new RelayError('RELAY_ERR_GATEWAY', 'transport.engine is off')
    return supervisor
  }

  app.get('/viewers', reads('viewers', {
    operationId: 'listViewers',
    summary: 'Viewer sessions',
    description: 'Sessions over WebTransport and WebSocket; viewers over plain HTTP have none.'
  }, ViewerList, 503), async () => {
    const rows = await gateway().sessions()
    return { viewers: rows.map(({ rttMs, ...row }) => rttMs === undefined ? row : { ...row, rttMs }) }
  })

  app.delete('/viewers/:id', writes('viewers', {
    operationId: 'disconnectViewer',
    summary: 'Disconnect a viewer',
    description: 'Ends its session; nothing keeps it from beginning another.',
    params: Type.Object({ id: Type.String({ pattern: '^[A-Za-z0-9_-]{1,64}$', description: 'session, as in the list' }) })
  }, Type.Object({ disconnected: Type.Boolean() }), 404, 503), async request => {
    if (!await gateway().disconnect(request.params.id)) throw new RelayError('RELAY_ERR_NOT_FOUND', 'no such viewer')
    return { disconnected: true }
  })

  app.post('/drain', {
    config: { scope: 'write', bodyIsOptional: true },
    schema: {
      operationId: 'drainViewers',
      summary: 'Ask every viewer to move and take no new sessions',
      description: 'Holds until DELETE or a restart of the relay, also when the gateway restarts.',
      tags: ['viewers'],
      body: Drain,
      response: { 202: Type.Object({ draining: Type.Boolean() }), ...problems(400, 401, 403, 413, 415, 429, 503) }
    }
  }, async (request, reply) => {
    const { deadlineMs = DEADLINE_MS, alternates = [] } = request.body
    gateway()
    live.update({ drain: { deadlineMs, alternates } })
    request.log.warn({ deadlineMs, alternates }, 'draining viewers')
    return await reply.code(202).send({ draining: true })
  })
  app.delete('/drain', writes('viewers', {
    operationId: 'resumeViewers',
    summary: 'Take new sessions again',
    description: 'Those that were asked to move still end.'
  }, Type.Object({ draining: Type.Boolean() }), 503), async request => {
    gateway()
    live.update({ drain: undefined })
    request.log.warn('taking viewers again')
    return { draining: false }
  })
}
