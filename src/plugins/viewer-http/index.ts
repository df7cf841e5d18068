import { Server as TlsServer } from 'node:tls'
import cors from '@fastify/cors'
import fp from 'fastify-plugin'
import type { FastifyInstance } from 'fastify'
import { systemClock } from '../../base/clock.ts'
import type { Logger } from '../../base/log.ts'
import type { Config } from '../../config/config.ts'
import { TLS_POLICY } from '../../protocol/ciphers.ts'
import { REQUEST_FIELDS } from '../../protocol/request-fields.ts'
import { requestLogTarget } from '../access-log/index.ts'
import { createInstance } from '../http/instance.ts'
import { limitViewers } from '../limits/index.ts'
import { timeBusyRoutes, timeRequests } from '../metrics/index.ts'
import { playerRoutes } from './player-routes.ts'
import { shardRoutes } from './shard-routes.ts'
import { transportRoute } from './transport-routes.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The viewer listener: an instance of its own over the same services. */
    viewer: FastifyInstance
    /** Viewer HTTP connections open now. */
    viewerConnections: () => number
  }
}

/** Headers a page may read; without them fetch() hides everything but the content type. */
const EXPOSED_HEADERS = ['accept-ranges', 'age', 'cache-status', 'cmsd-dynamic', 'content-length', 'content-range', 'etag', 'ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset', 'repr-digest', 'retry-after', 'server-timing', 'www-authenticate', 'x-request-id'].join(', ')

export interface ViewerHttpOptions {
  readonly config: Config
  readonly logger: Logger
  readonly onInstance: ((app: FastifyInstance, listener: 'viewer') => Promise<void>) | undefined
}

/** Viewer HTTP: shards with ranges and conditions, for whoever does not speak WebTransport. */
export default fp<ViewerHttpOptions>(async (app, { config: { auth, viewer: settings }, logger, onInstance }) => {
  const viewer = createInstance({
    logger,
    accessLog: requestLogTarget(app.accessLog),
    closed: timeBusyRoutes(app.relayMetrics, 'icn_relay_viewer_http_request_duration_seconds'),
    listener: 'viewer',
    requestTimeoutMs: settings.request_timeout_ms,
    idleTimeoutMs: settings.idle_timeout_ms,
    maxConnections: settings.max_connections,
    bodyLimit: 1_024,
    trustedProxies: settings.trusted_proxies,
    // Nobody could use a self-signed one: fetch() cannot pin it.
    ...app.certificates.source === 'configured' ? { tls: app.certificates.current() } : {}
  })
  const { server } = viewer
  // New handshakes use the new certificate, connections that exist stay.
  if (server instanceof TlsServer) app.certificates.onChange(material => { server.setSecureContext({ ...material, ...TLS_POLICY }) })
  await onInstance?.(viewer, 'viewer')
  let connections = 0
  viewer.server.on('connection', socket => {
    connections++
    socket.once('close', () => { connections-- })
  })
  app.relayMetrics.onCollect(() => { app.relayMetrics.set('icn_relay_viewer_connections', connections, { transport: 'http' }) })
  await timeRequests(viewer, app.relayMetrics, 'icn_relay_viewer_http_request_duration_seconds')
  // The same for every answer; what is left to the package is the preflight.
  viewer.addHook('onRequest', (request, reply, done) => {
    reply.header('access-control-allow-origin', '*').header('access-control-expose-headers', EXPOSED_HEADERS)
    // Its next request goes to whoever is not about to leave; HTTP/2 is told by GOAWAY in the end.
    if (app.viewers.live.draining && request.raw.httpVersionMajor === 1) reply.header('connection', 'close')
    done()
  })
  await viewer.register(async preflight => {
    await preflight.register(cors, { origin: '*', methods: ['GET', 'HEAD'], allowedHeaders: [...Object.keys(REQUEST_FIELDS), 'authorization', 'x-request-id', 'traceparent'], maxAge: 86_400, strictPreflight: false })
  })
  // After CORS, so that a page can read its 429.
  await limitViewers(viewer, app.limits, app.relayMetrics, { trustedProxies: settings.trusted_proxies, descriptors: app.descriptors })
  await viewer.register(shardRoutes, { shards: app.shards, metrics: app.relayMetrics, monotonic: systemClock.monotonic, now: systemClock.now, judge: app.judge, tier: app.tier, burstFactor: () => app.overload.burstFactor, viewers: app.bandwidth.viewers, idleTimeoutMs: settings.idle_timeout_ms })
  await viewer.register(transportRoute, {
    region: () => app.region.current,
    listening: () => app.viewers.listening(),
    overloaded: () => app.overload.shedsSessions,
    hashes: () => app.certificates.hashes(),
    gatewayId: () => app.viewers.gatewayId(),
    tickets: app.viewers.tickets,
    refused: reason => {
      app.limits.refused[reason === 'rate-address' ? 'handshakesPerSecondPerIp' : 'handshakesPerSecond']++
      app.relayMetrics.count('icn_relay_viewer_handshake_failures_total', { reason })
    }
  })
  if (settings.player) await viewer.register(playerRoutes, { recentVideos: auth.require ? undefined : limit => app.shardCache.recentVideos(limit) })
  app.decorate('viewer', viewer)
  app.decorate('viewerConnections', () => connections)
  app.addHook('onClose', async () => { await viewer.close() })
}, { name: 'viewer-http', dependencies: ['access-log', 'auth', 'bandwidth', 'limits', 'metrics', 'overload', 'region', 'shard-cache', 'shards', 'tls', 'upstream', 'viewers'] })
