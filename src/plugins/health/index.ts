import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import fp from 'fastify-plugin'
import type { Static } from 'typebox'
import { VERSION } from '../../base/version.ts'
import { Health, problems, Ready } from '../admin/schemas.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Whether viewers may be sent here, and what speaks against it. */
    readiness: () => Static<typeof Ready>
  }
}

/** `/health`: the process lives. `/ready`: viewers may be sent here. */
export default fp(async app => {
  let stopping = false
  let reconciled = false
  void app.shardCache.reconciled.then(() => { reconciled = true }, () => {})
  // The viewer listener closes first, and this one answers until its responses in flight have ended.
  app.viewer.addHook('preClose', async () => { stopping = true })
  const readiness = (): Static<typeof Ready> => {
    const nodes = app.upstream.status()
    const up = nodes.filter(node => node.state === 'up').length
    // Not before the gateway has had its chance: a viewer sent here earlier would settle for plain HTTP.
    const listening = app.viewer.server.listening && app.viewers.started() && !stopping
    const draining = app.viewers.live.draining
    // Degraded relays serve everybody; one that sheds would only send new viewers on.
    const { state } = app.overload
    return {
      ready: listening && !draining && state !== 'shedding',
      checks: {
        viewer: listening ? draining ? 'draining' : 'listening' : 'closed',
        // Viewers are served from super-nodes whatever the disk does.
        cache: app.cacheHealth.worst ?? (reconciled ? 'ok' as const : 'reconciling' as const),
        // Hits are served without any super-node, so a dead origin does not make the relay unready.
        upstream: up === nodes.length ? 'ok' : up > 0 ? 'degraded' : 'down',
        overload: state
      }
    }
  }
  app.decorate('readiness', readiness)
  const routes = app.withTypeProvider<TypeBoxTypeProvider>()

  routes.get('/health', {
    schema: {
      operationId: 'getHealth',
      summary: 'Liveness',
      description: 'The process lives, whether or not viewers may be sent here.',
      tags: ['observability'],
      response: { 200: Health, ...problems(400, 403) }
    }
  }, async () => ({
    status: stopping ? 'stopping' as const : 'ok' as const,
    version: VERSION,
    uptime_seconds: Math.floor(process.uptime()),
    cache_size_bytes: app.shardCache.disk.indexedBytes,
    viewer_connections: app.viewerConnections() + app.viewers.sessions()
  }))

  routes.get('/ready', {
    schema: {
      operationId: 'getReadiness',
      summary: 'Readiness',
      description: '503 while starting, draining, shedding load or stopping.',
      tags: ['observability'],
      response: { 200: Ready, 503: Ready, ...problems(400, 403) }
    }
  }, async (_request, reply) => {
    const report = readiness()
    return await reply.code(report.ready ? 200 : 503).send(report)
  })
}, { name: 'health', dependencies: ['overload', 'shard-cache', 'upstream', 'viewers', 'viewer-http'] })
