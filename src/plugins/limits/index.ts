import type { ServerHttp2Stream } from 'node:http2'
import { Server as TlsServer } from 'node:tls'
import rateLimit from '@fastify/rate-limit'
import fp from 'fastify-plugin'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { addressKey } from '../../admission/address-key.ts'
import { gateConnections } from '../../admission/connection-gate.ts'
import { HandshakeLimiter } from '../../admission/handshake-limiter.ts'
import type { LimitNumbers } from '../../admission/limit-numbers.ts'
import { Networks } from '../../admission/networks.ts'
import { ViewerNetworks } from '../../admission/viewer-networks.ts'
import { systemClock } from '../../base/clock.ts'
import { RelayError } from '../../base/errors.ts'
import type { Config } from '../../config/config.ts'
import { keysOf } from '../../config/schema.ts'
import type { RelayMetrics } from '../metrics/relay-metrics.ts'
import type { Descriptors } from './descriptors.ts'
import { Limits } from './limits.ts'
import { NetworkGate, networkLists } from './network-gate.ts'
import { RefusalCounts } from './refusal-counts.ts'
import { requestStore } from './request-store.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The limits in force; those of sessions are enforced by the gateway, which hears of changes. */
    limits: Limits
    /** Whose requests are answered at all. */
    networkGate: NetworkGate
  }
}

/** How often addresses that have been quiet are forgotten, ms: as long as a bucket takes to fill. */
const FORGET_MS = 1_000

/** Time until there may be a descriptor again, seconds: a response or two. */
const RETRY_S = 1

export interface ViewerGateOptions {
  readonly trustedProxies: readonly string[]
  readonly descriptors: Descriptors
}

/** Tells connections apart, whatever stands for them: an HTTP/2 request has no socket of its own. */
const nameOf = ({ remoteAddress, remotePort }: { remoteAddress?: string | undefined, remotePort?: number | undefined }): string => `${remoteAddress ?? ''} ${remotePort ?? ''}`

/** The session of an HTTP/2 request, else the socket. */
function connectionOf ({ raw }: FastifyRequest): { close? (): void } {
  return ('stream' in raw ? (raw.stream as ServerHttp2Stream).session : undefined) ?? raw.socket as { close? (): void }
}

/** Requests and connections of every address at the viewer listener. Connections of trusted proxies are those of many viewers. */
export async function limitViewers (viewer: FastifyInstance, limits: Limits, metrics: RelayMetrics, { trustedProxies, descriptors }: ViewerGateOptions): Promise<void> {
  const { monotonic } = systemClock
  const perSecond = (): number => limits.numbers.requestsPerSecondPerViewer
  const { requests, connections, responses } = limits
  const proxies = new Networks(trustedProxies)

  // TLS costs the main thread a millisecond before anything else is known of a viewer.
  const handshakes = viewer.server instanceof TlsServer ? new HandshakeLimiter(limits.numbers) : undefined
  const unsubscribe = limits.onChange(numbers => { handshakes?.change(numbers) })
  /** Connections that were let in to be told that there is no descriptor for them. */
  const unwelcome = new Set<string>()

  gateConnections(viewer.server, socket => {
    const ip = socket.remoteAddress ?? ''
    if (!descriptors.admitConnection()) {
      if (!descriptors.admitRefusal()) {
        metrics.count('icn_relay_viewer_connections_limited_total')
        return false
      }
      const name = nameOf(socket)
      unwelcome.add(name)
      socket.once('close', () => { unwelcome.delete(name) })
    }
    if (proxies.has(ip)) return true
    const verdict = handshakes?.admit(ip, monotonic()) ?? 'admit'
    if (verdict !== 'admit') {
      if (verdict === 'rate-total') limits.refused.handshakesPerSecond++
      else limits.refused.handshakesPerSecondPerIp++
      metrics.count('icn_relay_viewer_handshake_failures_total', { reason: verdict })
      return false
    }
    if (connections.of(ip) >= limits.numbers.connectionsPerIp) {
      limits.refused.connectionsPerIp++
      metrics.count('icn_relay_viewer_connections_limited_total')
      return false
    }
    connections.add(ip)
    socket.once('close', () => { connections.remove(ip) })
    return true
  })

  await viewer.register(rateLimit, {
    global: false,
    max: perSecond,
    timeWindow: 1_000,
    store: requestStore(requests, perSecond, monotonic),
    keyGenerator: request => addressKey(request.ip),
    enableDraftSpec: true,
    onExceeded: () => {
      limits.refused.requests++
      metrics.count('icn_relay_viewer_requests_limited_total', { transport: 'http' })
    },
    errorResponseBuilder: (_request, context) => new RelayError('RELAY_ERR_RATE_LIMITED', `more than ${context.max} requests in a second`)
  })
  // Every request and not every route: before tokens are judged, and also what no route is there for.
  viewer.addHook('onRequest', viewer.rateLimit())
  viewer.addHook('onRequest', async (request, reply) => {
    if (unwelcome.size > 0 && unwelcome.has(nameOf(request.raw.socket))) {
      if (request.raw.httpVersionMajor === 1) reply.header('connection', 'close')
      else reply.raw.once('close', () => { connectionOf(request).close?.() })
      throw new RelayError('RELAY_ERR_LOCAL_LACK', 'the relay has no descriptor to spare', { retryAfterSeconds: RETRY_S })
    }
    try {
      reply.raw.once('close', responses.begin(request.ip))
    } catch (error) {
      if (error instanceof RelayError && error.code === 'RELAY_ERR_RATE_LIMITED') {
        limits.refused.requests++
        metrics.count('icn_relay_viewer_requests_limited_total', { transport: 'http' })
      }
      throw error
    }
  })

  const refusals = new RefusalCounts()
  viewer.addHook('onSend', async (request, reply) => {
    if (!refusals.answered(connectionOf(request), reply.statusCode)) return
    if (request.raw.httpVersionMajor === 1) reply.header('connection', 'close')
    else reply.raw.once('close', () => { connectionOf(request).close?.() })
  })

  const forgetting = setInterval(() => {
    requests.forgetIdle(monotonic())
    handshakes?.forgetIdle(monotonic())
    limits.tickets.forgetIdle(monotonic())
  }, FORGET_MS).unref()
  viewer.addHook('onClose', async () => {
    clearInterval(forgetting)
    unsubscribe()
  })
  metrics.onCollect(() => {
    metrics.set('icn_relay_limits_tracked_addresses', requests.size, { limit: 'requests' })
    metrics.set('icn_relay_limits_tracked_addresses', connections.size, { limit: 'connections' })
    metrics.set('icn_relay_viewer_open_responses', responses.open)
  })
}

function numbersOf (limits: Config['limits']): LimitNumbers {
  return {
    handshakesPerSecond: limits.handshakes_per_second,
    handshakesPerSecondPerIp: limits.handshakes_per_second_per_ip,
    trackedIps: limits.tracked_ips,
    requestsPerSecondPerViewer: limits.requests_per_second_per_viewer,
    connectionsPerIp: limits.connections_per_ip
  }
}

/** The numbers of `[limits]`, for the gateway, the viewer listener and the admin API. */
export default fp<{ config: Config }>(async (app, { config: { limits, viewer } }) => {
  const own = new Limits(numbersOf(limits), { perAddress: limits.responses_per_ip, total: viewer.max_responses })
  app.decorate('limits', own)
  const { relayMetrics: metrics } = app
  const gate = new NetworkGate(networkLists({ viewer }), () => { metrics.count('icn_relay_viewer_refusals_total', { code: 'RELAY_ERR_VIEWER_NETWORK' }) })
  app.decorate('networkGate', gate)
  app.liveConfig.on(['viewer.allow_networks', 'viewer.deny_networks'], next => {
    const networks = new ViewerNetworks(networkLists(next))
    return () => { gate.replace(networks) }
  })
  metrics.onCollect(() => { for (const list of ['allow', 'deny'] as const) metrics.set('icn_relay_viewer_networks', gate.networks[list].size, { list }) })
  app.liveConfig.on(keysOf('limits'), ({ limits: next }) => () => {
    own.change(numbersOf(next))
    own.responses.change(next.responses_per_ip)
  })
}, { name: 'limits', dependencies: ['live-config', 'metrics'] })
