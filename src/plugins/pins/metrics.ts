import type { MetricDefinition } from '../metrics/definition.ts'

export const pinsMetrics = {
  icn_relay_cache_pinned_bytes: { type: 'gauge', help: 'Bytes of cached objects that no eviction takes, because their CID is pinned' },
  icn_relay_cache_pin_quota_bytes: { type: 'gauge', help: 'Bytes that pinned objects may take, see cache.pin_max_bytes' },
  icn_relay_cache_pins: { type: 'gauge', help: 'CIDs that are pinned' },
  icn_relay_cache_pin_refused_objects_total: { type: 'counter', help: 'Objects of pinned CIDs that were stored without being pinned, because the quota was used up' }
} as const satisfies Record<string, MetricDefinition>
