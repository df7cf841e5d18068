import type { MetricDefinition } from '../metrics/definition.ts'

export const sizingMetrics = {
  icn_relay_cache_estimated_hit_ratio: { type: 'gauge', help: 'Share of the requests of about the last day that would be hits with so many times the capacity in force when the estimate began; absent before 10,000 requests', labels: ['capacity'] },
  icn_relay_cache_estimated_byte_hit_ratio: { type: 'gauge', help: 'The same, of the bytes asked for', labels: ['capacity'] },
  icn_relay_cache_resizes_total: { type: 'counter', help: 'Times the relay has moved the bound of the cache: since a tenth more brings enough (gain) or the last tenth hardly anything (no-gain), for others on the disk (disk), or into its bounds (bounds)', labels: ['reason'] }
} as const satisfies Record<string, MetricDefinition>
