import fp from 'fastify-plugin'
import { systemClock } from '../../base/clock.ts'
import { Purger } from './purger.ts'

declare module 'fastify' {
  interface FastifyInstance {
    purger: Purger
  }
}

/** Evicts many objects when operators say so, by what their videos are called and tagged. */
export default fp(async app => {
  const { shardCache, shards, integrity, warm, relayMetrics: metrics } = app
  /** What manifests and jobs say. */
  const toldOf = (cid: string): string[] => [...integrity.checks?.tagsOf(cid) ?? [], ...warm.tagsOf(cid)]
  shardCache.tagBy(toldOf)
  const purger = new Purger({
    purge: async what => await shardCache.purges.purge(what),
    forbidStore: matches => { shards.forbidStore(matches) },
    tagsOf: cid => [...shardCache.tagsOf(cid), ...toldOf(cid)],
    now: systemClock.monotonic,
    purged: objects => { metrics.count('icn_relay_purged_objects_total', {}, objects) }
  })
  app.decorate('purger', purger)
  const { tags } = shardCache.disk.table
  let refused = 0
  metrics.onCollect(() => {
    metrics.set('icn_relay_purges', purger.open)
    metrics.set('icn_relay_cache_tagged_cids', tags.tagged)
    metrics.set('icn_relay_cache_tag_bytes', tags.bytes)
    metrics.count('icn_relay_cache_tags_refused_total', {}, tags.refused - refused)
    refused = tags.refused
  })
  app.addHook('preClose', async () => { await purger.close() })
}, { name: 'purge', dependencies: ['integrity', 'metrics', 'shard-cache', 'shards', 'warm'] })
