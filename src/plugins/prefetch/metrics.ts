import type { MetricDefinition } from '../metrics/definition.ts'

export const prefetchMetrics = {
  icn_relay_prefetch_objects_total: {
    type: 'counter',
    help: 'Objects brought in ahead of viewers, by why (order: they follow what was asked for; hint: a viewer named them) and how that ended: stored, joined (a viewer asked for it meanwhile), unstored (the cache did not keep it), failed',
    labels: ['source', 'outcome']
  },
  icn_relay_prefetch_skipped_total: { type: 'counter', help: 'Objects that were to be brought in ahead and were not: room (viewers would miss what had to go), late (waited too long), full (too many waited), load', labels: ['reason'] },
  icn_relay_prefetch_bytes_total: { type: 'counter', help: 'Bytes of objects that were brought in ahead, joined ones included', labels: ['source'] },
  icn_relay_prefetch_used_bytes_total: { type: 'counter', help: 'Those of them that a viewer has asked for', labels: ['source'] },
  icn_relay_prefetch_wasted_bytes_total: { type: 'counter', help: 'Those of them that were evicted or purged before any viewer asked for them', labels: ['source'] },
  icn_relay_prefetch_unused_bytes: { type: 'gauge', help: 'Bytes of cached objects that were brought in ahead and not asked for yet, of the last 1,024 such objects' },
  icn_relay_prefetch_running: { type: 'gauge', help: 'Objects being brought in ahead that no viewer has asked for yet' },
  icn_relay_prefetch_waiting: { type: 'gauge', help: 'Objects that wait to be brought in ahead' },
  icn_relay_prefetch_depth: { type: 'gauge', help: 'Objects that are brought in ahead of one request at most, by how many of the last ones were used', labels: ['source'] }
} as const satisfies Record<string, MetricDefinition>
