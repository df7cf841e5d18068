import { setTimeout as delay } from 'node:timers/promises'
import fp from 'fastify-plugin'
import { systemClock } from '../../base/clock.ts'
import { diskThreads, POOL_THREADS } from '../../base/thread-pool.ts'
import type { Config } from '../../config/config.ts'
import type { DiskQueue } from '../../storage/disk-queue.ts'
import { hasSeparateGateway } from '../viewers/launched-gateways.ts'
import { CACHE_PROBLEMS, type CacheHealth } from './cache-health.ts'
import { openCache } from './open-cache.ts'
import type { ShardCache } from './shard-cache.ts'
import { TtlRules } from './ttl-rules.ts'
import { watchStore } from './store-watch.ts'

declare module 'fastify' {
  interface FastifyInstance {
    shardCache: ShardCache
    cacheHealth: CacheHealth
    diskQueue: DiskQueue
  }
}

/** Pause before each directory that is compared with the index while background work is not allowed, ms: a tenth of its pace or less. */
const PACE_MS = 100

export interface ShardCachePluginOptions {
  readonly config: Config
  /** Ends loading. */
  readonly signal?: AbortSignal | undefined
  /** Told what share is loaded, 0 to 1. */
  readonly loaded?: (share: number) => void
}

/** Opens the cache directory and keeps its index on disk up to date. */
export default fp<ShardCachePluginOptions>(async (app, { config, signal, loaded }) => {
  const { cache: settings } = config
  const log = app.log.child({ plugin: 'shard-cache' })
  const opened = await openCache({
    path: settings.path,
    maxBytes: settings.max_bytes,
    eviction: settings.eviction,
    sync: settings.sync,
    ramBytes: settings.ram_bytes,
    passThroughBytes: settings.pass_through_bytes,
    minFreeBytes: settings.min_free_bytes,
    maxStaleMs: settings.max_stale_ms,
    ttl: new TtlRules(settings.ttl),
    ioTimeoutMs: settings.io_timeout_ms,
    diskThreads: diskThreads(POOL_THREADS),
    groupReadable: hasSeparateGateway(config),
    clock: systemClock,
    random: Math.random,
    observer: watchStore(app.relayMetrics.cache, { monotonic: systemClock.monotonic, log: (level, message, fields) => { log[level](fields, message) } }),
    mayOpen: () => app.descriptors.admitHit(),
    mayPromote: () => app.overload.backgroundAllowed,
    verify: {
      mode: settings.verify_reads,
      onVerified: outcome => { app.relayMetrics.count('icn_relay_cache_verified_reads_total', { outcome }) },
      onRot: ({ entry, finder, reason }) => {
        app.relayMetrics.count('icn_relay_cache_rot_total', { finder })
        log.warn({ object: entry.id, bytes: entry.size, sha256: entry.sha256, finder, reason }, 'cached file has changed on the disk, evicted')
      }
    },
    // Slower and not paused: what it finds, operators wait for.
    pace: async signal => { if (!app.overload.backgroundAllowed) await delay(PACE_MS, undefined, { signal }).catch(() => {}) },
    // Two relays on one directory destroy each other's files: this one stops as after any error that it cannot mend.
    onLost: error => { setImmediate(() => { throw error }) },
    log: (level, message, fields) => { log[level](fields ?? {}, message) },
    ...signal === undefined ? {} : { signal },
    ...loaded === undefined ? {} : { loaded }
  })
  const { cache, health, queue } = opened
  app.decorate('shardCache', cache)
  app.decorate('cacheHealth', health)
  app.decorate('diskQueue', queue)
  app.liveConfig.on(['cache.max_bytes'], next => () => { cache.disk.resize(next.cache.max_bytes) })
  app.liveConfig.on(['cache.ram_bytes'], next => () => { cache.ram.resize(next.cache.ram_bytes) })
  app.liveConfig.on(['cache.ttl'], next => {
    const ttl = new TtlRules(next.cache.ttl)
    return () => { cache.freshness.ttl = ttl }
  })
  const timer = setInterval(() => {
    void cache.disk.index.flush()
    void opened.look()
  }, settings.flush_interval_ms).unref()
  app.relayMetrics.onCollect(() => {
    const { relayMetrics: metrics } = app
    const { disk, ram } = cache
    metrics.set('icn_relay_cache_size_bytes', disk.indexedBytes)
    metrics.set('icn_relay_cache_capacity_bytes', disk.maxBytes)
    metrics.set('icn_relay_cache_utilization_percent', disk.usedBytes / disk.maxBytes * 100)
    metrics.set('icn_relay_cache_reserved_bytes', disk.reservedBytes)
    metrics.set('icn_relay_cache_condemned_bytes', disk.condemnedBytes)
    metrics.set('icn_relay_cache_entries', disk.count, { tier: 'disk' })
    metrics.set('icn_relay_cache_entries', ram.count, { tier: 'ram' })
    metrics.set('icn_relay_cache_partial_objects', disk.partials.count)
    metrics.set('icn_relay_cache_ram_bytes', ram.usedBytes)
    metrics.set('icn_relay_cache_pass_through_bytes', disk.passThrough.usedBytes)
    metrics.set('icn_relay_cache_index_pending', disk.index.pending)
    metrics.set('icn_relay_cache_open_files', disk.openFiles)
    if (disk.freeBytes !== undefined) metrics.set('icn_relay_cache_free_bytes', disk.freeBytes)
    metrics.set('icn_relay_disk_late_operations', queue.late)
    for (const problem of CACHE_PROBLEMS) metrics.set('icn_relay_cache_problem', health.has(problem) ? 1 : 0, { problem })
  })
  app.addHook('onClose', async () => {
    clearInterval(timer)
    await opened.close()
  })
}, { name: 'shard-cache', dependencies: ['live-config', 'metrics', 'overload'] })
