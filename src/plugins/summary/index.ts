import fp from 'fastify-plugin'
import type { Static } from 'typebox'
import { residentBytes } from '../../base/process-use.ts'
import { VERSION } from '../../base/version.ts'
import { SESSION_TRANSPORTS } from '../../protocol/session-transports.ts'
import { METRICS } from '../metrics/definitions.ts'
import type { Summary } from './schemas.ts'
import { bucketsOf, totalOf, totalsBy } from './totals.ts'

type Report = Static<typeof Summary>

declare module 'fastify' {
  interface FastifyInstance {
    /** How the relay is, and what it has done so far. */
    summary: () => Promise<Report>
  }
}

/** Fixed, whatever becomes of the clock. */
const STARTED_AT = Math.round(performance.timeOrigin)

/** How the relay is, in one answer: what a page, a terminal or a script looks at every second. */
export default fp(async app => {
  const { relayMetrics: metrics, shardCache: { disk, ram } } = app

  const totals = async (): Promise<Pick<Report, 'totals' | 'firstByte'>> => {
    const [sent, received, hits, misses, failures, limited, evictions, lines, waits] = await Promise.all([
      metrics.series('icn_relay_bytes_served_total'),
      metrics.series('icn_relay_upstream_bytes_total'),
      metrics.series('icn_relay_cache_hits_total'),
      metrics.series('icn_relay_cache_misses_total'),
      metrics.series('icn_relay_open_failures_total'),
      metrics.series('icn_relay_viewer_requests_limited_total'),
      metrics.series('icn_relay_cache_evictions_total'),
      metrics.series('icn_relay_log_lines_dropped_total'),
      metrics.series('icn_relay_shard_serve_latency_seconds')
    ])
    const { file, budget, gateway, listener } = app.accessLog.dropped
    const bounds = METRICS.icn_relay_shard_serve_latency_seconds.buckets
    return {
      totals: {
        sentBytes: totalsBy('transport', sent),
        receivedBytes: totalsBy('node', received),
        hits: totalsBy('tier', hits),
        misses: totalOf(misses),
        failures: totalsBy('code', failures),
        limited: totalOf(limited),
        evictions: totalOf(evictions),
        logLinesDropped: totalOf(lines) + file + budget + gateway + listener
      },
      firstByte: {
        bounds,
        hits: bucketsOf({ stage: 'first_byte', result: 'hit' }, bounds, waits),
        misses: bucketsOf({ stage: 'first_byte', result: 'miss' }, bounds, waits)
      }
    }
  }

  const viewers = (): Report['viewers'] => {
    const { stats } = app.viewers.supervisor ?? {}
    const sessions = Object.fromEntries(SESSION_TRANSPORTS.map(({ name }) => [name, stats?.sessions[name] ?? 0])) as Pick<Report['viewers'], 'webtransport' | 'websocket'>
    return { http: app.viewerConnections(), ...sessions }
  }

  app.decorate('summary', async () => {
    const { overload, viewers: { supervisor }, bandwidth: { keeper }, certificates, liveConfig, jobs: { jobs }, denylist } = app
    const [restarts, gatewayCpu] = await Promise.all([metrics.series('icn_relay_gateway_restarts_total'), metrics.series('icn_relay_gateway_cpu_seconds_total')])
    const { user, system } = process.cpuUsage()
    const states = jobs.list().map(({ state }) => state)
    return {
      version: VERSION,
      startedAt: STARTED_AT,
      uptimeSeconds: Math.round(process.uptime() * 1_000) / 1_000,
      region: app.region.current,
      readiness: app.readiness(),
      overload: { state: overload.state, since: overload.since, reason: overload.reason ?? null },
      viewers: viewers(),
      bandwidth: { totalBps: keeper.limits.totalBps, shareBps: keeper.levelBps === undefined ? null : Math.round(keeper.levelBps), backloggedViewers: keeper.backlogged() },
      cache: {
        maxBytes: disk.maxBytes,
        usedBytes: disk.usedBytes,
        freeBytes: disk.freeBytes ?? null,
        entries: disk.count,
        ramBytes: ram.maxBytes,
        ramUsedBytes: ram.usedBytes,
        fills: app.shards.fills
      },
      superNodes: app.upstream.status(),
      gateway: supervisor === undefined ? null : { up: supervisor.listening !== undefined, restarts: totalOf(restarts), rssBytes: supervisor.stats?.rssBytes ?? 0 },
      process: { rssBytes: residentBytes(), cpuSeconds: (user + system) / 1e6, gatewayCpuSeconds: totalOf(gatewayCpu) },
      certificate: { source: certificates.source, notAfter: certificates.notAfter },
      config: { hash: liveConfig.hash, reload: { ...liveConfig.lastReload }, restart: liveConfig.restart.length, overrides: liveConfig.overridden.length },
      jobs: { waiting: states.filter(state => state === 'waiting').length, running: states.filter(state => state === 'running').length },
      denylist: { entries: denylist.size, problems: denylist.service.report().flatMap(({ source, problem }) => problem === null ? [] : [`${source}: ${problem}`]) },
      ...await totals()
    }
  })
}, { name: 'summary', dependencies: ['access-log', 'bandwidth', 'denylist', 'health', 'jobs', 'live-config', 'metrics', 'overload', 'region', 'shard-cache', 'shards', 'tls', 'upstream', 'viewers', 'viewer-http'] })
