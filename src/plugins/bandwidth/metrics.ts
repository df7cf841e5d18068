import type { MetricDefinition } from '../metrics/definition.ts'

export const bandwidthMetrics = {
  icn_relay_bandwidth_budget_bps: { type: 'gauge', help: 'Budget for all viewers, bits per second; 0 is unlimited' },
  icn_relay_bandwidth_share_bps: { type: 'gauge', help: 'What a viewer of weight 1 can count on, bits per second; absent when the budget is unlimited' },
  icn_relay_bandwidth_backlogged_viewers: { type: 'gauge', help: 'Viewers that wait for bandwidth most of the time' },
  icn_relay_bandwidth_http_viewers: { type: 'gauge', help: 'Viewers over HTTP with a share of their own' },
  icn_relay_bandwidth_granted_bytes_total: { type: 'counter', help: 'Body bytes admitted while bandwidth was limited', labels: ['transport'] },
  icn_relay_bandwidth_throttled_seconds_total: { type: 'counter', help: 'Time viewers waited for bandwidth, summed over viewers', labels: ['transport'] }
} as const satisfies Record<string, MetricDefinition>
