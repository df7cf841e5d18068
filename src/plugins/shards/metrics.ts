import type { MetricDefinition } from '../metrics/definition.ts'

/** From a memory hit (tens of microseconds) past the 50 ms target of a hit to the 500 ms target of a miss. */
const SERVE_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60]

export const shardsMetrics = {
  icn_relay_fills: { type: 'gauge', help: 'Objects being fetched' },
  icn_relay_fills_unwanted: { type: 'gauge', help: 'Objects being fetched that no viewer waits for; they make room where connections or fills run out' },
  icn_relay_open_failures_total: { type: 'counter', help: 'Requests for an object that failed, by error code', labels: ['code'] },
  icn_relay_bytes_served_total: { type: 'counter', help: 'Body bytes sent to viewers', labels: ['transport'] },
  icn_relay_shard_serve_latency_seconds: {
    type: 'histogram',
    help: 'Request head complete until the first body byte (first_byte) or the whole body (complete) was handed to the transport',
    labels: ['transport', 'result', 'stage'],
    buckets: SERVE_BUCKETS
  }
} as const satisfies Record<string, MetricDefinition>
