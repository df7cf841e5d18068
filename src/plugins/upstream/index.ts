import { hostname } from 'node:os'
import { join } from 'node:path'
import fp from 'fastify-plugin'
import { systemClock } from '../../base/clock.ts'
import type { Config } from '../../config/config.ts'
import { loadChanges } from './node-changes.ts'
import { NodeRoster } from './node-roster.ts'
import { DEFAULT_FITNESS_POLICY } from './node-state.ts'
import { configuredSource } from './sources/configured.ts'
import type { NodeSource } from './sources/node-source.ts'
import { StaticSource } from './sources/static.ts'
import { relayPseudonym, type Tier } from './tiers.ts'
import { Upstream } from './upstream.ts'

declare module 'fastify' {
  interface FastifyInstance {
    upstream: Upstream
    nodeRoster: NodeRoster
    /** What names the super-nodes. */
    nodeSource: NodeSource
    /** Our place among relays that ask relays. */
    tier: Tier
  }
}

/** Connections to the super-nodes. */
export default fp<{ config: Config }>(async (app, { config }) => {
  const { upstream: settings } = config
  const log = app.log.child({ plugin: 'upstream' })
  const tier: Tier = { pseudonym: relayPseudonym(settings.relay_id, hostname(), Math.random), maxHops: settings.max_hops }
  log.info({ ...tier }, 'our name in via')
  const upstream = new Upstream({
    pseudonym: tier.pseudonym,
    siblings: { siblings: settings.siblings, self: settings.self_url },
    region: () => app.region.current,
    denies: app.denylist.denies,
    shardPath: settings.shard_path,
    manifestPath: settings.manifest_path,
    connectionsPerNode: settings.connections_per_node,
    connectTimeoutMs: settings.connect_timeout_ms,
    headersTimeoutMs: settings.headers_timeout_ms,
    bodyTimeoutMs: settings.body_timeout_ms,
    leastBodyBps: settings.least_body_bps,
    firstByteTimeoutMs: settings.first_byte_timeout_ms,
    hedge: {
      minMs: settings.hedge_min_ms,
      maxMs: settings.hedge_max_ms,
      budget: settings.hedge_budget_percent / 100,
      burst: settings.hedge_burst,
      maxParallel: settings.hedge_max_parallel
    },
    fitness: {
      ...DEFAULT_FITNESS_POLICY,
      circuit: {
        ...DEFAULT_FITNESS_POLICY.circuit,
        failures: settings.circuit_failures,
        windowMs: settings.circuit_window_ms,
        errorRatio: settings.circuit_error_ratio,
        initialMs: settings.backoff_initial_ms,
        maxMs: settings.backoff_max_ms,
        rampMs: settings.ramp_ms
      },
      outlier: { ...DEFAULT_FITNESS_POLICY.outlier, maxPercent: settings.eject_max_percent }
    },
    health: { intervalMs: settings.health_interval_ms, timeoutMs: settings.health_timeout_ms },
    negativeTtlMs: settings.negative_ttl_ms,
    clock: systemClock,
    random: Math.random,
    observer: app.relayMetrics.upstream,
    log: (level, message, fields) => { log[level](fields, message) }
  })
  const configured = new StaticSource(settings.super_nodes)
  const source = configuredSource(settings, { random: Math.random, log: (level, message, fields) => { log[level](fields, message) } }, configured)
  const file = join(config.cache.path, 'upstreams.json')
  const roster = new NodeRoster(upstream.nodes, await loadChanges(file, (message, fields) => { log.warn(fields, message) }), file)
  // Not awaited: the configured nodes are named immediately, and a name server that does not answer keeps nobody waiting.
  void source.start(nodes => { roster.name(nodes) })
  app.liveConfig.on(['upstream.super_nodes'], next => () => { configured.set(next.upstream.super_nodes) })
  app.decorate('upstream', upstream)
  app.decorate('nodeRoster', roster)
  app.decorate('nodeSource', source)
  app.decorate('tier', tier)
  app.relayMetrics.onCollect(() => {
    const nodes = upstream.status()
    app.relayMetrics.replace('icn_relay_upstream_node_up', nodes.map(({ id, region, state }) => [{ node: id, region }, state === 'up' ? 1 : 0]))
  })
  app.addHook('onClose', async () => {
    await source.close()
    await roster.close()
    await upstream.close()
  })
}, { name: 'upstream', dependencies: ['denylist', 'live-config', 'metrics', 'region'] })
