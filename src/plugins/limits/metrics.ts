import type { MetricDefinition } from '../metrics/definition.ts'

export const limitsMetrics = {
  icn_relay_viewer_requests_limited_total: { type: 'counter', help: 'Viewer requests answered with 429', labels: ['transport'] },
  icn_relay_viewer_connections_limited_total: { type: 'counter', help: 'Viewer HTTP connections closed on accept because their address had too many' },
  icn_relay_viewer_open_responses: { type: 'gauge', help: 'Viewer HTTP responses under way' },
  icn_relay_limits_tracked_addresses: { type: 'gauge', help: 'Addresses that a limit remembers', labels: ['limit'] },
  icn_relay_viewer_networks: { type: 'gauge', help: 'Networks whose viewers are let in or not, by viewer.allow_networks and viewer.deny_networks', labels: ['list'] }
} as const satisfies Record<string, MetricDefinition>
