import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { reads } from '../admin/route.ts'
import { AuditRecord, MAX_RECORDS, type AuditLog } from './audit-log.ts'

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
  }, Type.Object({ records: Type.Array(AuditRecord) })), async request => ({ records: audit.latest(request.query) }))
}
