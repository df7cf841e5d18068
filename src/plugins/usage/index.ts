import { join } from 'node:path'
import fp from 'fastify-plugin'
import { systemClock } from '../../base/clock.ts'
import { RotatedFile } from '../../base/rotated-file.ts'
import type { Config } from '../../config/config.ts'
import { Usage, USAGE_KEYS } from './usage.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** What was served, hour by hour; undefined where it is not counted. */
    usage: Usage | undefined
  }
}

const USAGE_FILE = 'usage-log.ndjson'
/** How often it is looked whether an hour is over, ms. */
const TURN_MS = 10_000

/** Requests and bytes by CID and by subject, hour by hour. */
export default fp<{ config: Config }>(async (app, { config: { usage: settings, cache } }) => {
  if (!settings.enabled) {
    app.decorate('usage', undefined)
    return
  }
  const { relayMetrics: metrics } = app
  const log = app.log.child({ plugin: 'usage' })
  const file = new RotatedFile(settings.path === '' ? join(cache.path, USAGE_FILE) : settings.path, settings.max_bytes)
  const usage = new Usage({
    rows: settings.rows,
    now: systemClock.now,
    write: async lines => { await file.append(lines) },
    failed: error => {
      metrics.count('icn_relay_usage_failures_total')
      log.error({ err: error, file: file.path }, 'an hour of usage could not be written')
    }
  })
  app.accessLog.observe({ take: record => { usage.take(record) }, missed: records => { usage.missed(records) } })
  metrics.onCollect(() => { for (const by of USAGE_KEYS) metrics.set('icn_relay_usage_rows', usage.sizes()[by], { by }) })
  const turning = setInterval(() => { usage.turn() }, TURN_MS).unref()
  app.decorate('usage', usage)
  // After the last response.
  app.addHook('onClose', async () => {
    clearInterval(turning)
    await usage.close()
  })
}, { name: 'usage', dependencies: ['access-log', 'metrics', 'shard-cache'] })
