import { hostname } from 'node:os'
import fp from 'fastify-plugin'
import { systemClock } from '../clock.ts'
import type { Config } from '../config.ts'
import { relayPseudonym, type Tier } from '../upstream/tiers.ts'
import { Upstream } from '../upstream/upstream.ts'

declare module 'fastify' {
  interface FastifyInstance {
    upstream: Upstream
    /** Our place among relays that ask relays. */
    tier: Tier
  }
}

/** Connections to the super-nodes. */
export default fp<{ config: Config }>(async (app, { config }) => {
  const { upstream: settings, region } = config
  const log = app.log.child({ plugin: 'upstream' })
  const tier: Tier = { pseudonym: relayPseudonym(settings.relay_id, hostname(), Math.random), maxHops: settings.max_hops }
  log.info({ ...tier }, 'our name in via')
  const upstream = new Upstream({
    pseudonym: tier.pseudonym,
    superNodes: settings.super_nodes,
    region: () => region.override,
    shardPath: settings.shard_path,
    manifestPath: settings.manifest_path,
    connectionsPerNode: settings.connections_per_node,
    connectTimeoutMs: settings.connect_timeout_ms,
    headersTimeoutMs: settings.headers_timeout_ms,
    bodyTimeoutMs: settings.body_timeout_ms,
    backoff: { initialMs: settings.backoff_initial_ms, maxMs: settings.backoff_max_ms },
    clock: systemClock,
    random: Math.random,
    observer: app.relayMetrics.upstream,
    log: (level, message, fields) => { log[level](fields, message) }
  })
  app.decorate('upstream', upstream)
  app.decorate('tier', tier)
  app.relayMetrics.onCollect(() => {
    const nodes = upstream.status()
    for (const { id, region, state } of nodes) app.relayMetrics.set('icn_relay_upstream_node_up', state === 'up' ? 1 : 0, { node: id, region })
    app.relayMetrics.set('icn_relay_p2p_peers', nodes.filter(node => node.connections.connected > 0).length)
  })
  app.addHook('onClose', async () => { await upstream.close() })
}, { name: 'upstream', dependencies: ['metrics'] })
