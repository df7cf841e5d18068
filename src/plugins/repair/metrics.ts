import type { MetricDefinition } from '../metrics/definition.ts'

export const repairMetrics = {
  icn_relay_repairs: { type: 'gauge', help: 'Shards being rebuilt' },
  icn_relay_repairs_waiting: { type: 'gauge', help: 'Shards that wait until others are rebuilt' },
  icn_relay_repairs_total: {
    type: 'counter',
    help: 'Shards that no super-node delivered: repaired, no_manifest (none is believed), siblings (fewer than ten can be had), busy (too many at the same time), timeout, wrong (not what the manifest says), failed (a sibling could not be read, or the code failed), aborted',
    labels: ['outcome']
  },
  icn_relay_repair_bytes_total: { type: 'counter', help: 'Bytes of shards that were rebuilt' },
  icn_relay_repair_seconds: { type: 'histogram', help: 'Time of a successful repair, from the failure of the last super-node to the last byte', buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] }
} as const satisfies Record<string, MetricDefinition>
