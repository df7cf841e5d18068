import { Readable } from 'node:stream'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type, { type TSchema } from 'typebox'
import { RelayError } from '../../base/errors.ts'
import { isPart, keyId, type ShardKey } from '../../protocol/shard-key.ts'
import { purges, reads, readsSettings, writesSettings } from '../admin/route.ts'
import { Cid, Capacity, CacheManifest, CacheStats, Entry, EntryPage, Imported, PartParam, problems, Purged } from '../admin/schemas.ts'
import type { Config } from '../../config/config.ts'
import type { ShardService } from '../shards/shard-service.ts'
import type { SetSection } from '../live-config/set-section.ts'
import type { ShardCache } from './shard-cache.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The body as `openapi.yaml` has it, where the route itself checks more of it than its schema. */
    documentedBody?: TSchema
  }
}

export interface CacheRoutesOptions {
  readonly cache: ShardCache
  readonly shards: ShardService
  readonly eviction: Config['cache']['eviction']
  readonly set: SetSection
}

/** Body of a manifest import; larger ones go into the cache directory as `cache_manifest.json` and are read at start. */
const MANIFEST_BODY_LIMIT = 64 * 1024 * 1024

const UNDER_WAY = 'Viewers who read it go on to its end; a fetch under way serves its viewers and is not stored.'

const EntryParams = Type.Object({ cid: Cid, part: PartParam })

function toKey (params: { cid: string, part: string }): ShardKey {
  const part = params.part === 'manifest' ? params.part : Number(params.part)
  if (!isPart(part)) throw new RelayError('RELAY_ERR_BAD_REQUEST', 'part is neither 0 to 13 nor "manifest"')
  return { cid: params.cid, part }
}

/** `/cache`: what is stored, purges, capacity, manifest. */
export const cacheRoutes: FastifyPluginAsyncTypebox<CacheRoutesOptions> = async (app, { cache, shards, eviction, set }) => {
  let reconciled = false
  void cache.reconciled.then(() => { reconciled = true }, () => {})

  const stats = () => {
    const { disk, ram } = cache
    return {
      maxBytes: disk.maxBytes,
      ramBytes: ram.maxBytes,
      eviction,
      disk: {
        usedBytes: disk.usedBytes,
        sizeBytes: disk.indexedBytes,
        reservedBytes: disk.reservedBytes,
        condemnedBytes: disk.condemnedBytes,
        entries: disk.count,
        openFiles: disk.openFiles
      },
      ram: { usedBytes: ram.usedBytes, entries: ram.count },
      fills: shards.fills,
      indexPending: disk.index.pending,
      reconciled
    }
  }

  app.get('/cache', readsSettings('cache', {
    operationId: 'getCache',
    summary: 'Cache statistics',
    description: 'Bounds and use of the disk and of the memory tier, and the fetches under way.'
  }, CacheStats), async () => stats())

  app.patch('/cache', writesSettings('cache', {
    operationId: 'resizeCache',
    summary: 'Change capacities',
    description: 'The cache shrinks immediately; what is left out stays. All holds over restarts, until it is dropped: `DELETE /config/overrides`.',
    body: Capacity
  }, CacheStats, 500, 503), async request => {
    const { maxBytes, ramBytes } = request.body
    await set('cache', request.body, request.headers['if-match'])
    request.log.info({ maxBytes, ramBytes }, 'cache capacity changed')
    return stats()
  })

  app.get('/cache/shards', reads('cache', {
    operationId: 'listEntries',
    summary: 'List entries',
    description: 'They are ordered by key, a page at a time.',
    querystring: Type.Object({
      cid: Type.Optional(Cid),
      cursor: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9_-]{1,128}/(\\d{1,2}|manifest)$', description: '`next` of the page before' })),
      limit: Type.Integer({ minimum: 1, maximum: 1_000, default: 100, description: 'entries on the page' })
    }, { additionalProperties: false })
  }, EntryPage, 500), async request => await cache.list(request.query))

  app.get('/cache/shards/:cid/:part', reads('cache', {
    operationId: 'getEntry',
    summary: 'One entry',
    description: 'Asking does not count as a use of the object.',
    params: EntryParams
  }, Entry, 404), async request => {
    const entry = cache.details(toKey(request.params))
    if (entry === undefined) throw new RelayError('RELAY_ERR_NOT_FOUND', 'the object is not cached')
    return entry
  })

  app.delete('/cache/shards/:cid/:part', purges('cache', {
    operationId: 'purgeEntry',
    summary: 'Purge one object',
    description: `Purging what is not cached is not an error. ${UNDER_WAY}`,
    params: EntryParams
  }, Purged), async request => {
    const key = toKey(request.params)
    shards.forbidStore(id => id === keyId(key))
    return { purged: cache.purge(key) ? 1 : 0 }
  })

  app.delete('/cache/shards/:cid', purges('cache', {
    operationId: 'purgeCid',
    summary: 'Purge all objects of a CID',
    description: UNDER_WAY,
    params: Type.Object({ cid: Cid })
  }, Purged), async request => {
    const { cid } = request.params
    shards.forbidStore(id => id.startsWith(`${cid}/`))
    return { purged: cache.purgeCid(cid) }
  })

  app.delete('/cache/shards', purges('cache', {
    operationId: 'purgeAll',
    summary: 'Purge everything',
    description: UNDER_WAY,
    querystring: Type.Object({ confirm: Type.Literal('all', { description: 'must be `all`: a slip of the keyboard empties no cache' }) }, { additionalProperties: false })
  }, Purged), async request => {
    shards.forbidStore(() => true)
    const purged = await cache.purgeMatching(() => true)
    request.log.warn({ purged }, 'cache purged')
    return { purged }
  })

  app.get('/cache/manifest', {
    schema: {
      operationId: 'exportManifest',
      summary: 'Export cache_manifest.json',
      description: 'Its entries are ordered by use, the least recently used first.',
      tags: ['cache'],
      response: { 200: { description: 'the manifest', content: { 'application/json': { schema: CacheManifest } } }, ...problems(401, 403, 429) }
    },
    serializerCompiler: () => data => JSON.stringify(data)
  }, async (_request, reply) => {
    return await reply.type('application/json')
      .header('content-disposition', 'attachment; filename="cache_manifest.json"')
      .send(Readable.from(cache.exportManifest()) as never)
  })

  app.post('/cache/manifest', {
    // Its entries are checked as they are read, and the first faulty one is named.
    config: { scope: 'write', documentedBody: CacheManifest },
    bodyLimit: MANIFEST_BODY_LIMIT,
    schema: {
      operationId: 'importManifest',
      summary: 'Take over files that lie in the cache directory',
      description: 'Only those of the size and digest that the manifest says; the others count as rejected.',
      tags: ['cache'],
      body: Type.Object({ version: Type.Literal(1), entries: Type.Array(Type.Unknown()) }, { additionalProperties: false }),
      response: { 200: Imported, ...problems(400, 401, 403, 413, 415, 429) }
    }
  }, async request => await cache.importManifest(request.body))
}
