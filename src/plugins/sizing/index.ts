import { randomInt } from 'node:crypto'
import fp from 'fastify-plugin'
import { systemClock } from '../../base/clock.ts'
import type { Config } from '../../config/config.ts'
import { LEAST_REQUESTS, SizingService } from './sizing-service.ts'

declare module 'fastify' {
  interface FastifyInstance {
    sizing: SizingService
  }
}

/** Estimates what more or less of a cache would bring, from what viewers ask for, and moves the bound by it where the configuration says so. */
export default fp<{ config: Config }>(async (app, { config: { sizing: settings, cache } }) => {
  const { relayMetrics: metrics, shardCache, overload } = app
  const { disk } = shardCache
  const log = app.log.child({ plugin: 'sizing' })
  let reconciled = false
  void shardCache.reconciled.then(() => { reconciled = true }, () => {})
  const sizing = new SizingService({
    policy: cache.eviction,
    steps: settings.enabled ? { minBytes: settings.min_bytes, maxBytes: settings.max_bytes, keepFreeBytes: settings.keep_free_bytes, gainPoints: settings.gain_points } : undefined,
    cache: () => ({ bytes: disk.configuredBytes, usedBytes: disk.usedBytes, freeBytes: disk.freeBytes }),
    resize: bytes => { disk.resize(bytes) },
    mayResize: () => reconciled && overload.backgroundAllowed,
    random: () => randomInt(2 ** 32) / 2 ** 32,
    now: systemClock.now,
    resized: resize => {
      metrics.count('icn_relay_cache_resizes_total', { reason: resize.reason })
      log.info({ ...resize }, 'cache resized')
    }
  })
  app.decorate('sizing', sizing)
  shardCache.watch(sizing)
  const timer = setInterval(() => { sizing.look() }, settings.interval_s * 1_000).unref()
  metrics.onCollect(() => {
    // Of fewer requests it says little.
    const labelled = (sizing.requests < LEAST_REQUESTS ? [] : sizing.curve()).map(point => ({ ...point, labels: { capacity: String(Math.round(point.bytes / sizing.middle * 1_000) / 1_000) } }))
    metrics.replace('icn_relay_cache_estimated_hit_ratio', labelled.map(({ labels, hitRatio }) => [labels, hitRatio]))
    metrics.replace('icn_relay_cache_estimated_byte_hit_ratio', labelled.map(({ labels, byteHitRatio }) => [labels, byteHitRatio]))
  })
  app.addHook('onClose', async () => { clearInterval(timer) })
}, { name: 'sizing', dependencies: ['metrics', 'overload', 'shard-cache'] })
