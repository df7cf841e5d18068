import type { MetricDefinition } from '../metrics/definition.ts'

export const authMetrics = {
  icn_relay_viewer_refusals_total: { type: 'counter', help: 'Viewers refused for their token or its absence, or over HTTP for their address, by error code', labels: ['code'] }
} as const satisfies Record<string, MetricDefinition>
