import fp from 'fastify-plugin'
import { systemClock, systemTimers } from '../../base/clock.ts'
import type { Config } from '../../config/config.ts'
import { Prefetch } from './prefetch.ts'
import { hasRoomFor } from './room.ts'
import { EXPECTED_WITHIN_MS } from './unused-objects.ts'

/** Share of the connections to one super-node at which viewers' misses have them to themselves. */
const CONTENDED_SHARE = 1 / 2

/** Brings in what viewers will ask for next. */
export default fp<{ config: Config }>(async (app, { config: { prefetch: settings, upstream } }) => {
  if (!settings.enabled) return
  const { relayMetrics: metrics, shardCache, shards, overload, integrity, viewers } = app
  const prefetch = new Prefetch({
    concurrency: settings.concurrency,
    maxBps: settings.max_bps,
    maxDepth: settings.max_depth,
    contendedAt: Math.ceil(upstream.connections_per_node * CONTENDED_SHARE),
    shards,
    cached: key => shardCache.has(key),
    hasRoom: bytes => hasRoomFor(shardCache.disk, bytes, systemClock.now() - EXPECTED_WITHIN_MS),
    nextCids: cid => integrity.checks?.nextCids(cid) ?? [],
    sizeOf: key => integrity.checks?.sizeOf(key),
    mayRun: () => overload.backgroundAllowed && !viewers.live.draining,
    timers: systemTimers,
    observer: {
      ended: (source, outcome) => { metrics.count('icn_relay_prefetch_objects_total', { source, outcome }) },
      skipped: (reason, objects) => { metrics.count('icn_relay_prefetch_skipped_total', { reason }, objects) },
      bytes: (kind, source, bytes) => {
        const name = ({ brought: 'icn_relay_prefetch_bytes_total', used: 'icn_relay_prefetch_used_bytes_total', wasted: 'icn_relay_prefetch_wasted_bytes_total' } as const)[kind]
        metrics.count(name, { source }, bytes)
      }
    }
  })
  shards.onOpened((key, shard, next) => { prefetch.opened(key, shard, next) })
  overload.onChange(() => { if (!overload.backgroundAllowed) prefetch.giveUp() })
  metrics.onCollect(() => {
    prefetch.look()
    metrics.set('icn_relay_prefetch_running', prefetch.running)
    metrics.set('icn_relay_prefetch_waiting', prefetch.waiting)
    metrics.set('icn_relay_prefetch_unused_bytes', prefetch.unusedBytes)
    for (const source of ['order', 'hint'] as const) metrics.set('icn_relay_prefetch_depth', prefetch.depth(source), { source })
  })
  // Before fills are ended, of which it would begin others.
  app.addHook('preClose', async () => { prefetch.close() })
}, { name: 'prefetch', dependencies: ['metrics', 'overload', 'shard-cache', 'integrity', 'shards', 'viewers'] })
