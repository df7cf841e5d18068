import type { FastifyInstance, FastifyRequest } from 'fastify'
import { detail, type AuditLog } from './audit-log.ts'

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
