import type { MetricDefinition } from '../metrics/definition.ts'

export const denylistMetrics = {
  icn_relay_denylist_entries: { type: 'gauge', help: 'Entries of the denylist, by where they come from', labels: ['source'] },
  icn_relay_denylist_purged_objects_total: { type: 'counter', help: 'Cached objects evicted because of the denylist' },
  icn_relay_denylist_pull_failures_total: { type: 'counter', help: 'Times that denylist.url gave no list' },
  icn_relay_denylist_pull_age_seconds: { type: 'gauge', help: 'Time since denylist.url last said what the list is; absent without one, and before it ever has' }
} as const satisfies Record<string, MetricDefinition>
