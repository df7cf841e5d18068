import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { purges } from '../admin/route.ts'
import { Cid, Tag } from '../admin/schemas.ts'
import { PURGE_MODES, type Purger } from './purger.ts'
import { MAX_PURGE_CIDS } from './selector.ts'

const Purge = Type.Object({
  cids: Type.Optional(Type.Array(Cid, { minItems: 1, maxItems: MAX_PURGE_CIDS })),
  prefix: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9_-]{1,128}\\*?$', description: 'of CIDs, with or without `*` behind it' })),
  tag: Type.Optional(Tag),
  mode: Type.Optional(Type.Union(PURGE_MODES.map(mode => Type.Literal(mode)), { description: 'hard, the default: it goes; soft: it is served until it was fetched again, `cache.max_stale_ms` at most' })),
  all: Type.Optional(Type.Literal(true, { description: 'all that is cached' }))
}, { additionalProperties: false })

const ONE_OF = { oneOf: ['cids', 'prefix', 'tag', 'all'].map(name => ({ required: [name] })) }

/** `/cache/purge`: many objects at a time. */
export const purgeRoutes: FastifyPluginAsyncTypebox<{ purger: Purger }> = async (app, { purger }) => {
  const route = purges('cache', {
    operationId: 'purge',
    summary: 'Purge by CIDs, prefix or tag',
    description: 'Exactly one of `cids`, `prefix`, `tag` and `all`. Answered when nothing of it is served any more, except as a soft purge says, and a restart brings nothing back; what is on its way into the cache meanwhile is not stored. Viewers who read it go on to its end. One runs at a time, and 16 may wait.',
    body: Purge
  }, Type.Object({
    purged: Type.Integer({ minimum: 0, description: 'objects that went, or are stale' }),
    ms: Type.Integer({ minimum: 0, description: 'time it took' })
  }), 503)
  app.post('/cache/purge', { ...route, config: { ...route.config, documentedBody: { ...Purge, ...ONE_OF } } }, async request => {
    const report = await purger.purge(request.body, request.body.mode)
    request.log.warn({ ...request.body, ...report }, 'cache purged')
    return report
  })
}
