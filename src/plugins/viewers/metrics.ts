import type { MetricDefinition } from '../metrics/definition.ts'

export const viewersMetrics = {
  icn_relay_viewer_connections: { type: 'gauge', help: 'Viewer connections now', labels: ['transport'] },
  icn_relay_viewer_handshakes_total: { type: 'counter', help: 'Viewer sessions opened', labels: ['transport'] },
  icn_relay_viewer_handshake_failures_total: { type: 'counter', help: 'Handshakes that did not become a session; rate-address and rate-total: too many in a second, of one address or in total', labels: ['reason'] },
  icn_relay_viewer_streams_total: { type: 'counter', help: 'Requests over viewer sessions by how they ended', labels: ['transport', 'outcome'] },
  icn_relay_gateway_up: { type: 'gauge', help: '1 while the gateway process listens' },
  icn_relay_gateway_restarts_total: { type: 'counter', help: 'Times the gateway process was started again, by how it ended', labels: ['reason'] },
  icn_relay_gateway_leases: { type: 'gauge', help: 'Objects the relay holds open for the gateway' },
  icn_relay_gateway_rss_bytes: { type: 'gauge', help: 'Resident memory of the gateway process' },
  icn_relay_gateway_size: { type: 'gauge', help: 'Entries in every map and queue of the gateway process', labels: ['name'] }
} as const satisfies Record<string, MetricDefinition>
