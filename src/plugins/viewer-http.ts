import { fileURLToPath } from 'node:url'
import cors from '@fastify/cors'
import fastifyStatic from '@fastify/static'
import fp from 'fastify-plugin'
import type { FastifyInstance } from 'fastify'
import { systemClock } from '../clock.ts'
import type { Config } from '../config.ts'
import { createInstance } from '../http/instance.ts'
import type { Logger } from '../log.ts'
import { shardRoutes } from '../http/shard-routes.ts'
import { PLAYER_DOCS, PLAYER_REDIRECT } from '../http/viewer-docs.ts'
import { timeRequests } from './metrics.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The viewer listener: an instance of its own over the same services. */
    viewer: FastifyInstance
    /** Viewer HTTP connections open now. */
    viewerConnections: () => number
  }
}

/** Headers a page may read; without them fetch() hides everything but the content type. */
const EXPOSED_HEADERS = ['accept-ranges', 'cache-status', 'content-length', 'content-range', 'etag', 'repr-digest', 'retry-after', 'server-timing', 'x-request-id']

const PLAYER_CSP = "default-src 'self'; media-src 'self' blob:; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'"

export interface ViewerHttpOptions {
  readonly config: Config
  readonly logger: Logger
  readonly onInstance: ((app: FastifyInstance, listener: 'viewer') => Promise<void>) | undefined
}

/** Viewer HTTP: shards with ranges and conditions, for whoever does not speak WebTransport. */
export default fp<ViewerHttpOptions>(async (app, { config, logger, onInstance }) => {
  const { viewer: settings } = config
  const viewer = createInstance({
    logger,
    listener: 'viewer',
    requestTimeoutMs: settings.request_timeout_ms,
    idleTimeoutMs: settings.idle_timeout_ms,
    maxConnections: settings.max_connections,
    bodyLimit: 1_024
  })
  await onInstance?.(viewer, 'viewer')
  let connections = 0
  viewer.server.on('connection', socket => {
    connections++
    socket.once('close', () => { connections-- })
  })
  app.relayMetrics.onCollect(() => { app.relayMetrics.set('icn_relay_viewer_connections', connections, { transport: 'http' }) })
  await timeRequests(viewer, app.relayMetrics, 'icn_relay_viewer_http_request_duration_seconds')
  await viewer.register(cors, { origin: '*', methods: ['GET', 'HEAD'], allowedHeaders: ['range', 'if-none-match', 'if-range', 'authorization'], exposedHeaders: EXPOSED_HEADERS, maxAge: 86_400, strictPreflight: false })
  await viewer.register(shardRoutes, { shards: app.shards, metrics: app.relayMetrics, monotonic: systemClock.monotonic })
  if (settings.player) await viewer.register(playerRoutes)
  app.decorate('viewer', viewer)
  app.decorate('viewerConnections', () => connections)
  app.addHook('onClose', async () => { await viewer.close() })
}, { name: 'viewer-http', dependencies: ['metrics', 'shards'] })

async function playerRoutes (viewer: FastifyInstance): Promise<void> {
  viewer.addHook('onRequest', async (_request, reply) => {
    reply.header('cache-control', 'no-cache')
    reply.header('content-security-policy', PLAYER_CSP)
    reply.header('x-content-type-options', 'nosniff')
  })
  await viewer.register(fastifyStatic, { root: fileURLToPath(new URL('../../demo/player', import.meta.url)), prefix: '/player/', cacheControl: false })
  viewer.get('/', { schema: PLAYER_REDIRECT, config: { documentedAs: PLAYER_DOCS } }, async (_request, reply) => await reply.redirect('/player/'))
}
