import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { RelayError } from '../../base/errors.ts'
import { reads } from '../admin/route.ts'
import { Bytes, Millis } from '../admin/schemas.ts'
import { USAGE_KEYS, type Usage } from './usage.ts'
import { limitedRows } from './usage-table.ts'

const Count = (description: string) => Type.Integer({ minimum: 0, description })

const Row = Type.Object({
  key: Type.Union([Type.String(), Type.Null()], { description: 'CID, or subject of a token, empty without one; null for all that have no row of their own' }),
  requests: Count('responses'),
  hits: Count('of them from the cache'),
  errors: Count('of them refused, failed or broken off'),
  bytes: Bytes('of their bodies, as far as they went out'),
  hitBytes: Bytes('of those from the cache')
})

const Hour = Type.Object({
  from: Millis('when counting began'),
  to: Millis('until when'),
  whole: Type.Boolean({ description: 'whether it is an hour, and not a part of one' }),
  missed: Count('responses that are not counted, since their records were lost'),
  rows: Type.Array(Row)
})

/** `/usage`: what was served, by CID or by subject. */
export const usageRoutes: FastifyPluginAsyncTypebox<{ usage: Usage | undefined }> = async (app, { usage }) => {
  app.get('/usage', reads('usage', {
    operationId: 'getUsage',
    summary: 'What was served in an hour, by CID or by subject',
    description: 'The busiest first, by bytes. Earlier hours are in the file of `usage.path`. 404 while `usage.enabled` is false, and for the previous hour in the first.',
    querystring: Type.Object({
      by: Type.Union(USAGE_KEYS.map(key => Type.Literal(key)), { default: 'cid', description: 'what it is counted by' }),
      hour: Type.Union([Type.Literal('current'), Type.Literal('previous')], { default: 'current', description: 'the one under way, or the last that has ended' }),
      limit: Type.Integer({ minimum: 1, maximum: 10_000, default: 100, description: 'rows at most, besides the rest' })
    }, { additionalProperties: false })
  }, Hour, 404), async request => {
    if (usage === undefined) throw new RelayError('RELAY_ERR_NOT_FOUND', 'usage is not counted: usage.enabled is false')
    const { by, hour, limit } = request.query
    const found = hour === 'current' ? usage.current : usage.previous
    if (found === undefined) throw new RelayError('RELAY_ERR_NOT_FOUND', 'no hour has ended yet')
    const { from, to, whole, missed, rows } = found
    return { from, to, whole, missed, rows: limitedRows(rows[by], limit) }
  })
}
