import fp from 'fastify-plugin'
import { systemClock } from '../../base/clock.ts'
import { Purger } from './purger.ts'
import { Revalidator } from './revalidator.ts'

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
    clock: systemClock,
    purged: (mode, objects) => { metrics.count('icn_relay_purged_objects_total', { mode }, objects) }
  })
  app.decorate('purger', purger)
  const { disk } = shardCache
  const revalidator = new Revalidator({
    peek: id => disk.peek(id),
    isStale: entry => shardCache.freshness.isStale(entry),
    renew: (entry, ageMs) => { disk.renew(entry, true, systemClock.now() - ageMs) },
    evict: id => { shardCache.purges.one(id) },
    purges: () => disk.guard.begun,
    expects: async (key, via) => await integrity.checks?.expectsSince(key, via, shardCache.freshness.lifetimeOf(key)?.ttlMs ?? Infinity),
    refetch: key => shards.refetch(key),
    mayBegin: () => app.overload.backgroundAllowed,
    now: systemClock.monotonic,
    random: Math.random,
    observer: {
      revalidated: outcome => { metrics.count('icn_relay_revalidations_total', { outcome }) },
      expired: outcome => { metrics.count('icn_relay_cache_expired_requests_total', { outcome }) },
      stale: () => { metrics.count('icn_relay_cache_stale_hits_total') }
    }
  })
  shards.keepStaleBy(revalidator)
  const { tags } = disk.table
  let refused = 0
  metrics.onCollect(() => {
    metrics.set('icn_relay_purges', purger.open)
    metrics.set('icn_relay_revalidations', revalidator.running + revalidator.waiting)
    metrics.set('icn_relay_cache_tagged_cids', tags.tagged)
    metrics.set('icn_relay_cache_tag_bytes', tags.bytes)
    metrics.count('icn_relay_cache_tags_refused_total', {}, tags.refused - refused)
    refused = tags.refused
  })
  app.addHook('preClose', async () => {
    revalidator.close()
    await purger.close()
  })
}, { name: 'purge', dependencies: ['integrity', 'metrics', 'overload', 'shard-cache', 'shards', 'warm'] })
