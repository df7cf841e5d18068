import fp from 'fastify-plugin'
import { systemClock } from '../../base/clock.ts'
import type { Config } from '../../config/config.ts'
import { socketHandshake } from './handshake.ts'
import { RegionDetector } from './region-detector.ts'

declare module 'fastify' {
  interface FastifyInstance {
    region: RegionDetector
  }
}

/** The region of all super-nodes; undefined when they have several. */
function onlyRegion ({ super_nodes: nodes }: Config['upstream']): string | undefined {
  const [only, ...others] = new Set(nodes.map(node => node.region))
  return others.length === 0 ? only : undefined
}

/** The region of the relay. Detection begins once the admin listener is bound and goes on behind everything else. */
export default fp<{ config: Config }>(async (app, { config }) => {
  const { region: settings, upstream } = config
  const { relayMetrics: metrics } = app
  const log = app.log.child({ plugin: 'region' })
  const detector = new RegionDetector({
    nodes: () => app.upstream.status(),
    handshake: socketHandshake(systemClock.monotonic),
    policy: { minSaving: settings.hysteresis_percent / 100, marginMs: settings.hysteresis_margin_ms, rounds: settings.hysteresis_rounds },
    timeoutMs: settings.sample_timeout_ms,
    intervalMs: settings.interval_ms,
    override: settings.override === '' ? undefined : settings.override,
    fallback: onlyRegion(upstream),
    mayMeasure: () => app.overload.backgroundAllowed,
    clock: systemClock,
    detected: outcome => { metrics.count('icn_relay_region_detections_total', { outcome }) },
    log: (level, message, fields) => { log[level](fields, message) }
  })
  app.decorate('region', detector)
  app.liveConfig.on(['region.override'], ({ region: { override } }) => () => { detector.setOverride(override === '' ? undefined : override) })
  app.liveConfig.on(['upstream.super_nodes'], next => () => { detector.setFallback(onlyRegion(next.upstream)) })
  metrics.onCollect(() => {
    metrics.replace('icn_relay_region_info', detector.current === '' ? [] : [[{ region: detector.current }, 1]])
    metrics.replace('icn_relay_region_latency_ms', [...detector.last?.latencies ?? []].map(([region, ms]) => [{ region }, ms]))
  })
  app.whenListening(() => { detector.start() })
  app.addHook('preClose', async () => { await detector.close() })
}, { name: 'region', dependencies: ['live-config', 'metrics', 'overload'] })
