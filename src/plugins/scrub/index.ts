import { join } from 'node:path'
import fp from 'fastify-plugin'
import { systemClock } from '../../base/clock.ts'
import { replaceFile } from '../../base/replace-file.ts'
import type { Config } from '../../config/config.ts'
import { ScrubService } from './scrub-service.ts'
import { scrubSource } from './scrub-source.ts'
import { loadScrubState } from './scrub-state.ts'

declare module 'fastify' {
  interface FastifyInstance {
    scrub: ScrubService
  }
}

/** Verifies cached files in the background, slowly, once the relay listens; load, a drain and viewers who wait for the disk come first. */
export default fp<{ config: Config }>(async (app, { config }) => {
  const { scrub: settings, cache } = config
  const { relayMetrics: metrics, shardCache, diskQueue } = app
  const log = app.log.child({ plugin: 'scrub' })
  const file = join(cache.path, 'scrub-state.json')
  let reconciled = false
  void shardCache.reconciled.then(() => { reconciled = true }, () => { reconciled = true })
  const scrub = new ScrubService({
    source: scrubSource(shardCache),
    bytesPerSecond: settings.bytes_per_second,
    intervalMs: settings.interval_s * 1_000,
    clock: systemClock,
    state: await loadScrubState(file, (message, fields) => { log.warn(fields, message) }),
    mayRun: () => reconciled && app.overload.backgroundAllowed && !app.viewers.live.draining,
    diskBusy: () => diskQueue.waiting > 0 || diskQueue.late > 0,
    cachedBytes: () => shardCache.disk.indexedBytes,
    keep: async text => { await diskQueue.run('write', async () => { await replaceFile(file, text) }) },
    observer: {
      read: bytes => { metrics.count('icn_relay_scrub_bytes_total', {}, bytes) },
      done: outcome => { metrics.count('icn_relay_scrub_objects_total', { outcome }) },
      passed: () => {
        metrics.count('icn_relay_scrub_passes_total')
        log.info({ ...scrub.state.last }, 'scrub is through the cache')
      }
    }
  })
  app.decorate('scrub', scrub)
  metrics.onCollect(() => {
    metrics.set('icn_relay_scrub_running', scrub.status === 'running' ? 1 : 0)
    metrics.set('icn_relay_scrub_coverage_ratio', scrub.coverage)
    metrics.replace('icn_relay_scrub_age_seconds', scrub.ageMs === undefined ? [] : [[{}, scrub.ageMs / 1_000]])
  })
  app.whenListening(() => { scrub.open() })
  app.addHook('preClose', async () => { await scrub.close() })
}, { name: 'scrub', dependencies: ['metrics', 'overload', 'shard-cache', 'viewers'] })
