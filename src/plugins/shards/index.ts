import fp from 'fastify-plugin'
import { RelayError } from '../../base/errors.ts'
import type { Config } from '../../config/config.ts'
import { missRefusal } from '../overload/miss-refusal.ts'
import { Enforcement } from './enforcement.ts'
import { ShardService } from './shard-service.ts'

declare module 'fastify' {
  interface FastifyInstance {
    shards: ShardService
  }
}

/** The one entry point to objects, shared by every viewer surface. */
export default fp<{ config: Config }>(async (app, { config }) => {
  const { upstream: settings } = config
  const shards = new ShardService({
    cache: app.shardCache,
    upstream: app.upstream,
    observer: app.relayMetrics.shards,
    denies: app.denylist.denies,
    integrity: app.integrity.checks,
    repair: app.repair,
    checksDigests: config.cache.integrity !== 'none',
    maxObjectBytes: settings.max_object_bytes,
    maxManifestBytes: settings.max_manifest_bytes,
    maxFills: settings.max_fills,
    fillTimeoutMs: settings.fill_timeout_ms,
    refuseMiss: () => {
      if (app.overload.shedsMisses) {
        app.relayMetrics.count('icn_relay_overload_shed_total', { kind: 'miss' })
        return missRefusal(Math.random)
      }
      if (app.descriptors.admitMiss()) return undefined
      return new RelayError('RELAY_ERR_LOCAL_LACK', 'the relay has no descriptor to spare', { retryAfterSeconds: 1 })
    }
  })
  app.decorate('shards', shards)
  app.relayMetrics.onCollect(() => {
    app.relayMetrics.set('icn_relay_fills', shards.fills)
    app.relayMetrics.set('icn_relay_fills_unwanted', shards.unwantedFills)
  })
  const log = app.log.child({ plugin: 'shards' })
  const enforcement = new Enforcement({
    denies: app.denylist.denies,
    revoke: denies => { shards.revoke(denies) },
    purge: async denies => await app.shardCache.purgeMatching(denies),
    purged: objects => {
      app.relayMetrics.count('icn_relay_denylist_purged_objects_total', {}, objects)
      log.warn({ objects }, 'objects that the denylist denies were evicted')
    },
    failed: error => { log.error({ err: error }, 'the denylist could not be enforced on the cache') }
  })
  app.denylist.onChange(() => { enforcement.begin() })
  app.whenListening(() => { if (app.denylist.size > 0) enforcement.begin() })
  app.addHook('onClose', async () => {
    await enforcement.close()
    await shards.close()
  })
}, { name: 'shards', dependencies: ['denylist', 'metrics', 'overload', 'shard-cache', 'upstream', 'integrity', 'repair'] })
