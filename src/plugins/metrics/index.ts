import fp from 'fastify-plugin'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fastifyMetrics from 'fastify-metrics'
import { Histogram, Registry } from 'prom-client'
import { VERSION } from '../../base/version.ts'
import { problems } from '../admin/schemas.ts'
import { METRICS, type MetricName } from './definitions.ts'
import { RelayMetrics } from './relay-metrics.ts'

declare module 'fastify' {
  interface FastifyInstance {
    relayMetrics: RelayMetrics
  }
}

type RouteMetricName = Extract<MetricName, `icn_relay_${string}_http_request_duration_seconds`>

/** Times the requests of an instance into the relay's registry; one line for each of the two listeners. */
export async function timeRequests (app: FastifyInstance, metrics: RelayMetrics, name: RouteMetricName): Promise<void> {
  const { help, buckets } = METRICS[name]
  await app.register(fastifyMetrics.default, {
    name: 'routeMetrics',
    endpoint: null,
    defaultMetrics: { enabled: false },
    routeMetrics: {
      enabled: { histogram: true, summary: false },
      methodBlacklist: [],
      // Requests that meet no route count too, all under the one route label `__unknown__`.
      registeredRoutesOnly: false,
      overrides: {
        histogram: { name, help, buckets: [...buckets], registers: [metrics.registry] },
        // fastify-metrics creates its summary even when it is switched off; it gets a registry nobody reads.
        summary: { name: `${name}_summary`, registers: [new Registry()] }
      }
    }
  })
}

/**
 * Times the requests of routes that have `disableMetrics`, under the same name: what fastify-metrics does for each request costs an eighth of a small answer.
 * Nothing is timed before {@link timeRequests} was called; routes and methods have to be a few.
 */
export function timeBusyRoutes (metrics: RelayMetrics, name: RouteMetricName): (request: FastifyRequest, reply: FastifyReply) => void {
  const series = new Map<string, { observe: (seconds: number) => void }>()
  return ({ method, routeOptions: { config, url: route = '' } }, { statusCode, elapsedTime }) => {
    if (config.disableMetrics !== true) return
    const id = `${method} ${statusCode} ${route}`
    let one = series.get(id)
    if (one === undefined) {
      const histogram = metrics.registry.getSingleMetric(name)
      if (!(histogram instanceof Histogram)) return
      one = histogram.labels({ method, route, status_code: statusCode })
      series.set(id, one)
    }
    one.observe(elapsedTime / 1_000)
  }
}

/** Metrics of the whole relay, at `/metrics` on the admin listener. */
export default fp<{ droppedLines?: (() => number) | undefined }>(async (app: FastifyInstance, { droppedLines = () => 0 }) => {
  const metrics = new RelayMetrics()
  let counted = 0
  metrics.onCollect(() => {
    metrics.count('icn_relay_log_lines_dropped_total', {}, droppedLines() - counted)
    counted = droppedLines()
  })
  const { collectDefaultMetrics } = await import('prom-client')
  collectDefaultMetrics({ register: metrics.registry })
  metrics.set('icn_relay_build_info', 1, { version: VERSION, node: process.versions.node })
  app.decorate('relayMetrics', metrics)
  await timeRequests(app, metrics, 'icn_relay_admin_http_request_duration_seconds')
  app.get('/metrics', {
    schema: {
      operationId: 'getMetrics',
      summary: 'Metrics in the Prometheus text format',
      description: 'docs/operations.md has a table of them.',
      tags: ['observability'],
      response: { 200: { description: 'Prometheus text format 0.0.4', content: { 'text/plain': { schema: { type: 'string' } } } }, ...problems(400, 403) }
    }
  }, async (_request, reply) => {
    return await reply.type(metrics.registry.contentType).send(await metrics.text())
  })
}, { name: 'metrics' })
