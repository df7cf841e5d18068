import { join } from 'node:path'
import fp from 'fastify-plugin'
import { systemClock } from '../../base/clock.ts'
import { replaceFile } from '../../base/replace-file.ts'
import type { Config } from '../../config/config.ts'
import { loadPins } from './pin-state.ts'
import { Pins } from './pins.ts'
import type { PinRoutesOptions } from './routes.ts'

declare module 'fastify' {
  interface FastifyInstance {
    pins: PinRoutesOptions
  }
}

/** Share of the cache that pinned objects may take, where no bytes are configured. */
const QUOTA_SHARE = 1 / 4
/** How often expired pins are looked for, ms. */
const LOOK_MS = 1_000

/** Keeps objects of some CIDs from being evicted, when operators say so. */
export default fp<{ config: Config }>(async (app, { config: { cache: settings } }) => {
  const { shardCache: { disk }, diskQueue, relayMetrics: metrics } = app
  const log = app.log.child({ plugin: 'pins' })
  const file = join(settings.path, 'pins.json')
  const quota = (): number => Math.floor(settings.pin_max_bytes > 0 ? Math.min(settings.pin_max_bytes, disk.maxBytes) : disk.maxBytes * QUOTA_SHARE)
  const pins = new Pins(await loadPins(file, (message, fields) => { log.error(fields, message) }), {
    store: {
      get pinnedBytes () { return disk.pinnedBytes },
      peek: id => disk.peek(id),
      keep: (entry, on) => { disk.keep(entry, on) }
    },
    quota,
    now: systemClock.now,
    keep: async text => { await diskQueue.run('write', async () => { await replaceFile(file, text) }) }
  })
  disk.onArrived(entry => { pins.arrived(entry) })
  app.decorate('pins', { pins, pinnedBytes: () => disk.pinnedBytes, quota, now: systemClock.now })
  const timer = setInterval(() => {
    pins.expire().catch((error: unknown) => { log.error({ err: error }, 'expired pins cannot be let go') })
  }, LOOK_MS).unref()
  let beyond = 0
  metrics.onCollect(() => {
    metrics.set('icn_relay_cache_pinned_bytes', disk.pinnedBytes)
    metrics.set('icn_relay_cache_pin_quota_bytes', quota())
    metrics.set('icn_relay_cache_pins', pins.count)
    metrics.count('icn_relay_cache_pin_refused_objects_total', {}, pins.beyond - beyond)
    beyond = pins.beyond
  })
  app.addHook('preClose', async () => { clearInterval(timer) })
}, { name: 'pins', dependencies: ['metrics', 'shard-cache'] })
