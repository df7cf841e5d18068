import type { MetricDefinition } from '../metrics/definition.ts'

export const usageMetrics = {
  icn_relay_usage_rows: { type: 'gauge', help: 'Rows of the hour under way, see usage.rows', labels: ['by'] },
  icn_relay_usage_failures_total: { type: 'counter', help: 'Hours that could not be written to their file' }
} as const satisfies Record<string, MetricDefinition>
