import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { reads } from '../admin/route.ts'
import { AuditRecordSchema, detail, MAX_RECORDS, type AuditLog } from './audit-log.ts'

const Text = (description: string) => Type.Optional(Type.String({ minLength: 1, maxLength: 64, description }))

/** `/audit`: who changed what. */
export const auditRoutes: FastifyPluginAsyncTypebox<{ audit: AuditLog }> = async (app, { audit }) => {
  app.get('/audit', reads('config', {
    operationId: 'listAudit',
    summary: 'Who changed what',
    description: `The latest ${MAX_RECORDS.toLocaleString('en')} records, of earlier runs too, the latest first; the file has all of them. What was asked with a token that may read only is not among them.`,
    querystring: Type.Object({
      limit: Type.Integer({ minimum: 1, maximum: MAX_RECORDS, default: 100, description: 'records at most' }),
      action: Text('of this action only'),
      by: Text('of the token with this name only'),
      before: Type.Optional(Type.Integer({ minimum: 0, description: 'older than this, milliseconds since the epoch: `at` of the last record of the page before' }))
    }, { additionalProperties: false })
  }, Type.Object({ records: Type.Array(AuditRecordSchema) })), async request => ({ records: audit.latest(request.query) }))
}

/** A path with its query, as it may stand in a record. */
const MAX_TARGET = 300

/** What a request has answered, as far as it is told. */
const answers = new WeakMap<FastifyRequest, unknown>()

/** Records every request of the instance that needs more than reading, refused ones too, once it is answered. @param by name of the token that was sent */
export function auditWrites (admin: FastifyInstance, audit: AuditLog, by: (request: FastifyRequest) => string | undefined, now: () => number): void {
  const isWrite = ({ routeOptions: { config: { scope = 'read' } } }: FastifyRequest): boolean => scope !== 'read'
  admin.addHook('preSerialization', async (request, _reply, payload) => {
    if (isWrite(request)) answers.set(request, detail(payload))
    return payload
  })
  admin.addHook('onResponse', async (request, reply) => {
    if (!isWrite(request)) return
    const asked = detail(request.body)
    const after = answers.get(request)
    audit.add({
      at: now(),
      by: by(request) ?? null,
      address: request.ip,
      id: request.id,
      action: (request.routeOptions.schema as { operationId?: string } | undefined)?.operationId ?? 'unknown',
      target: request.url.slice(0, MAX_TARGET),
      status: reply.statusCode,
      ...asked === undefined ? {} : { asked },
      ...after === undefined ? {} : { after }
    })
  })
}
