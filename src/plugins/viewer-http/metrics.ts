import type { MetricDefinition } from '../metrics/definition.ts'

/** From a memory hit (tens of microseconds) past the 50 ms target of a hit to the 500 ms target of a miss. */
const SERVE_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60]

export const viewerHttpMetrics = {
  icn_relay_viewer_http_request_duration_seconds: { type: 'histogram', help: 'Viewer HTTP requests (fastify-metrics)', labels: ['method', 'route', 'status_code'], buckets: SERVE_BUCKETS }
} as const satisfies Record<string, MetricDefinition>
