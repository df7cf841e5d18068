import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { RelayError } from '../../base/errors.ts'
import { reads, writes } from '../admin/route.ts'
import { Cid } from '../admin/schemas.ts'
import type { DenylistService } from './denylist-service.ts'
import { DenylistReport, DenylistSource } from './schemas.ts'

const Additions = Type.Object({
  entries: Type.Array(Type.String({ minLength: 1, maxLength: 140 }), { minItems: 1, maxItems: 1_000, description: 'CIDs, prefixes with `*`, or `//` and the SHA-256 of `<CID>/` in hexadecimal digits' }),
  reason: Type.Optional(Type.String({ maxLength: 200, default: '', description: 'for whoever asks later' }))
}, { additionalProperties: false })

const SHOWN = 1_000

/** `/denylist`: what must not be served. */
export const denylistRoutes: FastifyPluginAsyncTypebox<{ service: DenylistService }> = async (app, { service }) => {
  const report = () => {
    const lists = service.report()
    return { entries: lists.reduce((sum, { entries }) => sum + entries, 0), lists, own: service.own.list().slice(0, SHOWN) }
  }

  app.get('/denylist', reads('denylist', {
    operationId: 'getDenylist',
    summary: 'The lists of what is not served',
    description: 'Entries of the file and of the URL are counted, and not listed.'
  }, DenylistReport), async () => report())

  app.get('/denylist/cids/:cid', reads('denylist', {
    operationId: 'checkDenylist',
    summary: 'Whether a CID is denied',
    description: 'And by which lists.',
    params: Type.Object({ cid: Cid })
  }, Type.Object({ denied: Type.Boolean(), sources: Type.Array(DenylistSource) })), async request => {
    const sources = service.sourcesOf(request.params.cid)
    return { denied: sources.length > 0, sources }
  })

  app.post('/denylist/entries', writes('denylist', {
    operationId: 'addDenylistEntries',
    summary: 'Deny CIDs',
    description: 'Holds when it is answered, and over restarts: requests are 451, what is read or fetched ends, and what is cached goes. All entries are taken, or none. At most 10,000 are kept.',
    body: Additions
  }, Type.Object({ added: Type.Integer({ minimum: 0, description: 'that were not there' }) })), async request => {
    const { entries, reason = '' } = request.body
    const added = await service.add(entries, reason)
    request.log.warn({ entries: entries.length, added, reason }, 'denylist entries added')
    return { added }
  })

  app.delete('/denylist/entries/:entry', writes('denylist', {
    operationId: 'removeDenylistEntry',
    summary: 'Deny an entry no longer',
    description: 'One of this API; other lists may deny the same.',
    params: Type.Object({ entry: Type.String({ minLength: 1, maxLength: 140, description: 'as it was added' }) })
  }, Type.Object({ removed: Type.Boolean() }), 404), async request => {
    const { entry } = request.params
    if (!await service.remove(entry)) throw new RelayError('RELAY_ERR_NOT_FOUND', 'no such entry')
    request.log.warn({ entry }, 'denylist entry removed')
    return { removed: true }
  })

  app.post('/denylist/reload', writes('denylist', {
    operationId: 'reloadDenylist',
    summary: 'Read the file again, and ask the URL',
    description: 'Answered when both are through; a list that cannot be had or used leaves the one of before.'
  }, DenylistReport), async () => {
    await service.reload()
    return report()
  })
}
