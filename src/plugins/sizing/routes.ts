import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Config } from '../../config/config.ts'
import { reads } from '../admin/route.ts'
import type { ShardCache } from '../shard-cache/shard-cache.ts'
import { CacheCurve } from './schemas.ts'
import type { SizingService } from './sizing-service.ts'

export interface SizingRoutesOptions {
  readonly sizing: SizingService
  readonly cache: ShardCache
  readonly settings: Config['sizing']
}

/** More and less of the capacity that the report says the gain of, as shares of it. */
const CHANGES = [-0.5, -0.1, 0.1, 0.5, 1]

/** `/cache/curve`: what more or less of a cache would bring. */
export const sizingRoutes: FastifyPluginAsyncTypebox<SizingRoutesOptions> = async (app, { sizing, cache, settings }) => {
  app.get('/cache/curve', reads('cache', {
    operationId: 'getCacheCurve',
    summary: 'Hit ratio by capacity',
    description: 'Estimated from a sample of the objects that viewers ask for, with the eviction policy in force; requests of a day ago count for half. Nothing that is brought in ahead counts as asked for, and a pass through the memory tier counts as a hit.'
  }, CacheCurve), async () => {
    const { configuredBytes } = cache.disk
    return {
      bytes: configuredBytes,
      requests: Math.round(sizing.requests),
      sampledShare: sizing.rate,
      hitRatio: sizing.hitRatio ?? null,
      points: sizing.curve(),
      gains: CHANGES.map(share => ({ bytes: Math.round(configuredBytes * share), points: Math.round(sizing.gain(configuredBytes * share) * 100) / 100 })),
      sizing: { enabled: sizing.adapts, minBytes: settings.min_bytes, maxBytes: settings.max_bytes, last: sizing.last ?? null }
    }
  })
}
