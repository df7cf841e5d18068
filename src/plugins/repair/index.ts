import fp from 'fastify-plugin'
import { systemClock, systemTimers } from '../../base/clock.ts'
import type { Config } from '../../config/config.ts'
import { Erasure } from './erasure.ts'
import { Repair } from './repair.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Undefined unless shards may be rebuilt: that needs manifests. */
    repair: Repair | undefined
  }
}

/** Rebuilds shards that no super-node delivers. */
export default fp<{ config: Config }>(async (app, { config: { repair: settings } }) => {
  const { relayMetrics: metrics, shardCache, integrity: { checks } } = app
  const log = app.log.child({ plugin: 'repair' })
  if (!settings.enabled || checks === undefined) {
    app.decorate('repair', undefined)
    return
  }
  const erasure = new Erasure()
  const repair = new Repair({
    erasure,
    expects: async (key, via) => await checks.expects(key, via),
    cached: key => shardCache.has(key),
    concurrency: settings.concurrency,
    timeoutMs: settings.timeout_ms,
    clock: systemClock,
    timers: systemTimers,
    observer: {
      ended: (outcome, ms, bytes) => {
        metrics.count('icn_relay_repairs_total', { outcome })
        metrics.count('icn_relay_repair_bytes_total', {}, bytes)
        if (outcome === 'repaired') metrics.observe('icn_relay_repair_seconds', ms / 1_000)
      }
    },
    log: (level, message, fields) => { log[level](fields, message) }
  })
  app.decorate('repair', repair)
  metrics.onCollect(() => {
    metrics.set('icn_relay_repairs', repair.running)
    metrics.set('icn_relay_repairs_waiting', repair.waiting)
  })
  app.addHook('onClose', async () => { await erasure.close() })
}, { name: 'repair', dependencies: ['metrics', 'shard-cache', 'integrity'] })
