import rateLimit from '@fastify/rate-limit'
import fp from 'fastify-plugin'
import type { FastifyInstance } from 'fastify'
import { systemClock } from '../clock.ts'
import type { Config } from '../config.ts'
import { RelayError } from '../errors.ts'
import { addressKey } from '../limits/address-key.ts'
import { gateConnections } from '../limits/connection-gate.ts'
import { Limits } from '../limits/limits.ts'
import { Networks } from '../limits/networks.ts'
import { requestStore } from '../limits/request-store.ts'
import type { RelayMetrics } from '../metrics/relay-metrics.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The limits in force; those of sessions are enforced by the gateway, which hears of changes. */
    limits: Limits
  }
}

/** How often addresses that have been quiet are forgotten, ms: as long as a bucket takes to fill. */
const FORGET_MS = 1_000

/** Requests and connections of every address at the viewer listener. Connections of trusted proxies are those of many viewers. */
export async function limitViewers (viewer: FastifyInstance, limits: Limits, metrics: RelayMetrics, trustedProxies: readonly string[]): Promise<void> {
  const { monotonic } = systemClock
  const perSecond = (): number => limits.numbers.requestsPerSecondPerViewer
  const { requests, connections } = limits
  const proxies = new Networks(trustedProxies)

  gateConnections(viewer.server, socket => {
    const ip = socket.remoteAddress ?? ''
    if (proxies.has(ip)) return true
    if (connections.of(ip) >= limits.numbers.connectionsPerIp) {
      limits.refused.connections++
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

  const forgetting = setInterval(() => {
    requests.forgetIdle(monotonic())
    limits.tickets.forgetIdle(monotonic())
  }, FORGET_MS).unref()
  viewer.addHook('onClose', async () => { clearInterval(forgetting) })
  metrics.onCollect(() => {
    metrics.set('icn_relay_limits_tracked_addresses', requests.size, { limit: 'requests' })
    metrics.set('icn_relay_limits_tracked_addresses', connections.size, { limit: 'connections' })
  })
}

/** The numbers of `[limits]`, for the gateway, the viewer listener and the admin API. */
export default fp<{ config: Config }>(async (app, { config: { limits } }) => {
  app.decorate('limits', new Limits({
    handshakesPerSecond: limits.handshakes_per_second,
    handshakesPerSecondPerIp: limits.handshakes_per_second_per_ip,
    trackedIps: limits.tracked_ips,
    requestsPerSecondPerViewer: limits.requests_per_second_per_viewer,
    connectionsPerIp: limits.connections_per_ip
  }))
}, { name: 'limits', dependencies: ['metrics'] })
