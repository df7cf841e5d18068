import type { MetricDefinition } from '../metrics/definition.ts'

export const regionMetrics = {
  icn_relay_region_info: { type: 'gauge', help: '1 for the region of the relay; absent when unknown', labels: ['region'] },
  icn_relay_region_latency_ms: { type: 'gauge', help: 'Round trip to the nearest super-node of a region at the latest detection, milliseconds; absent when out of reach', labels: ['region'] },
  icn_relay_region_detections_total: { type: 'counter', help: 'Region detections by outcome: first, kept, pending, changed, unreachable', labels: ['outcome'] }
} as const satisfies Record<string, MetricDefinition>
