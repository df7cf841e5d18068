import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import fp from 'fastify-plugin'
import { forGateway } from '../../admission/auth-settings.ts'
import { systemClock } from '../../base/clock.ts'
import { VERSION } from '../../base/version.ts'
import { perTransport, SESSION_TRANSPORTS } from '../../protocol/session-transports.ts'
import type { GatewayStats, ListeningInfo } from '../../channel/from-gateway.ts'
import type { Config } from '../../config/config.ts'
import { keysOf } from '../../config/schema.ts'
import { WEBSOCKET_FD } from '../../channel/channel.ts'
import { childGateways, gatewayPaths, type GatewayProgram } from '../../spawn/gateway-process.ts'
import type { RefusedCounts } from '../limits/limits.ts'
import { networkLists } from '../limits/network-gate.ts'
import type { RelayMetrics } from '../metrics/relay-metrics.ts'
import { redirectTargets } from '../overload/redirect-targets.ts'
import { hasSeparateGateway, isLaunched, launchedGateways } from './launched-gateways.ts'
import { LiveRecord } from './live-record.ts'
import { sessionPorts } from './ports.ts'
import { Supervisor } from './supervisor.ts'
import { TicketIssuer } from './ticket-issuer.ts'

export interface Viewers {
  /** Undefined when `transport.engine` is off. */
  readonly supervisor: Supervisor | undefined
  /** Settings of the gateway that may change while it runs. */
  readonly live: LiveRecord
  /** Sessions open now, over every transport but plain HTTP. */
  sessions (): number
  /** Addresses that the handshake limiter of the gateway remembers. */
  trackedAddresses (): number
  /** What viewers can open sessions on; undefined while there is no gateway, while it is drained, and while new sessions are refused for overload. */
  listening (): ListeningInfo | undefined
  /** Another one for every gateway process: the sessions of the last ended with it. */
  gatewayId (): string
  /** Tickets for sessions; undefined where none are asked for. */
  readonly tickets: TicketIssuer | undefined
  /** Where new sessions are sent in turn while the relay sheds load, base URLs; refused when empty. */
  redirectTo (): readonly string[]
  /** @param httpPort that viewer HTTP was bound to */
  start (httpPort: number): Promise<void>
  /** Whether {@link start} is through: every transport that could be opened is open. */
  started (): boolean
  /** Ends the gateway within `deadlineMs`; sessions get most of it to finish what they have under way. */
  stop (deadlineMs: number): Promise<void>
}

declare module 'fastify' {
  interface FastifyInstance {
    viewers: Viewers
  }
}

/** Size under which the gateway reports the addresses that its handshake limiter remembers. */
const TRACKED = 'gateway.tracked'
/** As long as what it authenticates with, SHA-256 (RFC 2104 §3). */
const TICKET_KEY_BYTES = 32
const GATEWAY_ID_BYTES = 8
/** Names of sizes that become labels at most. */
const MAX_SIZES = 200
/** Time to stop for whoever closes the plugin without having stopped the gateway before, ms. */
const LATE_STOP_MS = 1_500

function count (metrics: RelayMetrics, refused: RefusedCounts, { counts }: GatewayStats): void {
  for (const [name, labels, by] of counts.counters) {
    metrics.count(name, labels, by)
    if (name === 'icn_relay_viewer_requests_limited_total') refused.requests += by
    else if (name === 'icn_relay_viewer_handshake_failures_total') {
      if (labels.reason === 'rate-total') refused.handshakesPerSecond += by
      else if (labels.reason === 'rate-address') refused.handshakesPerSecondPerIp += by
    }
  }
  for (const [transport, result, stage, seconds] of counts.latencies) metrics.observe('icn_relay_shard_serve_latency_seconds', seconds, { transport, result, stage })
}

export interface ViewersOptions {
  readonly config: Config
  readonly gatewayProgram?: GatewayProgram | undefined
  /** Descriptor of a socket that WebSocket viewers come in by. */
  readonly websocketSocket?: number | undefined
}

/** Whether debug lines are written. */
function readsDebug ({ log: { level } }: Config): boolean {
  return level === 'debug' || level === 'trace'
}

/** Viewers over WebTransport: the supervised gateway process that owns QUIC, and what the relay knows of it. */
export default fp<ViewersOptions>(async (app, { config, gatewayProgram, websocketSocket }) => {
  const { viewer, transport } = config
  const { relayMetrics: metrics } = app
  const log = app.log.child({ plugin: 'viewers' })
  let ports = sessionPorts(config)
  const { engine } = transport
  const separate = hasSeparateGateway(config)
  const paths = gatewayPaths(config.cache.path, separate)
  let ticketKey = randomBytes(TICKET_KEY_BYTES)
  let gatewayId = ''
  /** Of a gateway that begins: what it takes as tickets, and what tells it from the one before. */
  const newTicketKey = (): Buffer => {
    gatewayId = randomBytes(GATEWAY_ID_BYTES).toString('hex')
    ticketKey = randomBytes(TICKET_KEY_BYTES)
    return ticketKey
  }
  const { keeper } = app.bandwidth
  const live = new LiveRecord({
    tls: app.certificates.current(),
    limits: app.limits.numbers,
    networks: networkLists(app.liveConfig.config),
    auth: forGateway(app.auth.current()),
    region: app.region.current,
    access: app.accessLog.settings,
    debug: readsDebug(app.liveConfig.config),
    share: keeper.share(),
    classes: app.bandwidth.classes,
    overload: { state: 'normal', targets: [] },
    drain: undefined
  }, systemClock)
  const supervisor = engine === 'off'
    ? undefined
    : new Supervisor({
      settings: () => ({
        viewer,
        transport,
        ports,
        websocketFd: websocketSocket === undefined ? undefined : WEBSOCKET_FD,
        engineDirectory: paths.engine,
        ticketKey: newTicketKey(),
        version: VERSION,
        ioTimeoutMs: config.cache.io_timeout_ms,
      }),
      live,
      start: isLaunched() ? launchedGateways : childGateways(paths, gatewayProgram, websocketSocket),
      shards: app.shards,
      responses: app.limits.responses,
      hangMs: transport.hang_ms,
      maxRssBytes: transport.max_rss_bytes,
      clock: systemClock,
      observer: {
        restarted: reason => { metrics.count('icn_relay_gateway_restarts_total', { reason }) },
        heartbeat: stats => {
          count(metrics, app.limits.refused, stats)
          app.gatewayLoad.hear(stats)
          for (const mode of ['user', 'system'] as const) metrics.count('icn_relay_gateway_cpu_seconds_total', { mode }, stats.cpu?.[mode] ?? 0)
          app.limits.requests.charge(stats.spent ?? [], systemClock.monotonic())
          const spent = app.limits.requests.report()
          if (spent.length > 0) supervisor?.tellSpent(spent)
          // The nearest super-node may be another one meanwhile.
          tellOverload()
        },
        demand: demand => {
          if (demand !== undefined) keeper.reported(demand)
          else {
            keeper.gatewayGone()
            live.update({ share: keeper.share() })
          }
        },
        access: ({ records, leftOut, missed }) => {
          for (const [record, written] of records) app.accessLog.take(record, written)
          if (leftOut > 0) app.accessLog.leftOut(leftOut)
          if (missed > 0) app.accessLog.missed(missed)
        },
        // A restarted gateway takes the ports its viewers know.
        listening: ({ open }) => { ports = perTransport(name => open[name]?.port ?? ports[name]) }
      },
      log: (level, message, fields) => { log[level](fields ?? {}, message) }
    })
  const redirectTo = (): readonly string[] => redirectTargets(app.liveConfig.config.overload, () => app.upstream.nodes.nearest(app.region.current)?.url)
  const tellOverload = (): void => { live.update({ overload: { state: app.overload.state, targets: app.overload.shedsSessions ? redirectTo() : [] } }) }
  const sized = new Set<string>()
  const sessions = (): number => Object.values(supervisor?.stats?.sessions ?? {}).reduce((sum, value) => sum + value, 0)
  const trackedAddresses = (): number => (supervisor?.stats?.sizes[TRACKED] ?? 0) + app.limits.tickets.size
  metrics.onCollect(() => {
    for (const { name } of SESSION_TRANSPORTS) metrics.set('icn_relay_viewer_connections', supervisor?.stats?.sessions[name] ?? 0, { transport: name })
    metrics.set('icn_relay_gateway_up', supervisor?.listening === undefined ? 0 : 1)
    metrics.set('icn_relay_gateway_leases', supervisor?.leases ?? 0)
    metrics.set('icn_relay_limits_tracked_addresses', trackedAddresses(), { limit: 'handshakes' })
    metrics.set('icn_relay_gateway_rss_bytes', supervisor?.stats?.rssBytes ?? 0)
    // What a gateway that is gone had held must not stand on.
    const sizes = supervisor?.sizes() ?? {}
    for (const name of sized) metrics.set('icn_relay_gateway_size', 0, { name })
    for (const [name, size] of Object.entries(sizes)) {
      if (sized.size < MAX_SIZES) sized.add(name)
      if (sized.has(name)) metrics.set('icn_relay_gateway_size', size, { name })
    }
  })
  let started = false
  app.decorate('viewers', {
    supervisor,
    live,
    sessions,
    trackedAddresses,
    // Nobody should pay for a handshake that is going to be refused.
    listening: () => live.draining || (app.overload.shedsSessions && redirectTo().length === 0) ? undefined : supervisor?.listening,
    gatewayId: () => gatewayId,
    tickets: viewer.require_ticket ? new TicketIssuer({ key: () => ticketKey, limiter: app.limits.tickets, clock: systemClock, randomBytes }) : undefined,
    redirectTo,
    start: async httpPort => {
      ports = sessionPorts(config, httpPort)
      // What is not there when it starts, the gateway may not make.
      if (!separate) await mkdir(paths.engine, { mode: 0o700 }).catch(() => {})
      await supervisor?.start()
      started = true
    },
    started: () => started,
    stop: async (deadlineMs: number) => { await supervisor?.stop(deadlineMs) }
  })
  app.liveConfig.on(keysOf('overload'), () => tellOverload)
  app.liveConfig.on(['bandwidth.weights', 'bandwidth.ladder'], () => () => { live.update({ classes: app.bandwidth.classes }) })
  keeper.onShare(share => { live.update({ share }) })
  app.liveConfig.on(['viewer.allow_networks', 'viewer.deny_networks'], next => {
    const lists = networkLists(next)
    return () => { live.update({ networks: lists }) }
  })
  app.liveConfig.on(['log.level'], next => () => { live.update({ debug: readsDebug(next) }) })
  app.accessLog.onChange(access => { live.update({ access }) })
  const subscriptions = [
    app.auth.onChange(settings => { live.update({ auth: forGateway(settings) }) }),
    app.certificates.onChange(tls => { live.update({ tls }) }),
    app.limits.onChange(limits => { live.update({ limits }) }),
    app.region.onChange(region => { live.update({ region }) }),
    app.overload.onChange(tellOverload)
  ]
  app.addHook('onClose', async () => {
    for (const unsubscribe of subscriptions) unsubscribe()
    await supervisor?.stop(LATE_STOP_MS)
  })
}, { name: 'viewers', dependencies: ['access-log', 'auth', 'bandwidth', 'limits', 'live-config', 'metrics', 'overload', 'region', 'shards', 'tls', 'upstream'] })
