import { join } from 'node:path'
import fp from 'fastify-plugin'
import { systemClock, systemTimers } from '../../base/clock.ts'
import { replaceFile } from '../../base/replace-file.ts'
import type { Config } from '../../config/config.ts'
import { askFeed } from './ask-feed.ts'
import { bringIn } from './bring-in.ts'
import { WarmFeed } from './feed.ts'
import type { WarmRelay } from './warm-job.ts'
import { WarmService } from './warm-service.ts'
import { loadWarmState } from './warm-state.ts'

declare module 'fastify' {
  interface FastifyInstance {
    warm: WarmService
  }
}

/** Brings videos into the cache before viewers ask for them, when operators or a feed say so. */
export default fp<{ config: Config }>(async (app, { config }) => {
  const { warm: settings, cache, upstream } = config
  const { relayMetrics: metrics, shardCache, diskQueue, jobs: { jobs } } = app
  const log = app.log.child({ plugin: 'warm' })
  const file = join(cache.path, 'warm-jobs.json')
  let reconciled = false
  void shardCache.reconciled.then(() => { reconciled = true }, () => { reconciled = true })
  const relay: WarmRelay = {
    cached: key => shardCache.has(key),
    bring: async (key, signal) => await bringIn(key, signal, { shards: app.shards, cache: shardCache }),
    holds: () => {
      if (!reconciled) return 'start'
      if (app.viewers.live.draining) return 'drain'
      // Half of the fills are viewers' alone.
      return app.overload.backgroundAllowed && app.shards.fills * 2 < upstream.max_fills ? undefined : 'load'
    },
    forgetMissing: matches => { app.upstream.forgetMissing(matches) },
    tag: (cid, tags) => { shardCache.addTags(cid, tags) },
    timers: systemTimers,
    random: Math.random,
    observer: {
      settled: (outcome, bytes) => {
        metrics.count('icn_relay_warm_shards_total', { outcome })
        metrics.count('icn_relay_warm_bytes_total', {}, bytes)
      }
    }
  }
  const state = await loadWarmState(file, (message, fields) => { log.error(fields, message) })
  const warm = new WarmService({
    jobs,
    relay,
    state,
    concurrency: settings.concurrency,
    manifestPath: upstream.manifest_path,
    keep: async text => { await diskQueue.run('write', async () => { await replaceFile(file, text) }) },
    flushIndex: async () => { await shardCache.disk.index.flush() },
    timers: systemTimers,
    log: (message, fields) => { log.error(fields, message) }
  })
  const { url } = settings.feed
  const feed = new WarmFeed({
    url,
    intervalMs: settings.feed.interval_ms,
    maxAgeMs: settings.feed.max_age_ms,
    ask: async (etag, signal) => await askFeed(url, etag, signal),
    behind: () => warm.list().some(({ state, work }) => state === 'waiting' && work.source === 'feed'),
    take: async (cids, state) => {
      if (cids.length === 0) await warm.keepFeed(state)
      else await warm.begin({ cids }, 'feed', state)
    },
    clock: systemClock,
    timers: systemTimers,
    random: Math.random,
    observer: {
      polled: (outcome, videos) => {
        metrics.count('icn_relay_warm_feed_polls_total', { outcome })
        metrics.count('icn_relay_warm_feed_videos_total', {}, videos)
      }
    },
    log: (level, message, fields) => { log[level](fields, message) }
  }, state.feed)
  app.decorate('warm', warm)
  metrics.onCollect(() => {
    const open = warm.list().filter(job => job.open)
    for (const [state, count] of warm.states()) metrics.set('icn_relay_warm_jobs', count, { state })
    metrics.set('icn_relay_warm_pending', open.reduce((sum, { work }) => sum + work.counts.pending, 0))
    metrics.set('icn_relay_warm_waiting', open.some(({ work }) => work.waiting) ? 1 : 0)
  })
  if (url !== '') app.whenListening(() => { feed.start() })
  app.addHook('preClose', async () => {
    await feed.close()
    await jobs.close()
    await warm.close()
  })
}, { name: 'warm', dependencies: ['jobs', 'metrics', 'overload', 'shard-cache', 'shards', 'upstream', 'viewers'] })
