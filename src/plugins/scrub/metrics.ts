import type { MetricDefinition } from '../metrics/definition.ts'

export const scrubMetrics = {
  icn_relay_scrub_running: { type: 'gauge', help: '1 while the scrub reads, 0 while it waits for the next pass, load, a drain or an operator' },
  icn_relay_scrub_bytes_total: { type: 'counter', help: 'Bytes of cached files that the scrub has read' },
  icn_relay_scrub_objects_total: { type: 'counter', help: 'Objects that the scrub is through with; rotted and unreadable ones are evicted, skipped ones were not readable in time', labels: ['outcome'] },
  icn_relay_scrub_passes_total: { type: 'counter', help: 'Passes of the scrub over the whole cache that have ended' },
  icn_relay_scrub_coverage_ratio: { type: 'gauge', help: 'Share of the bytes of the cache that the pass under way, or else the last one, has verified' },
  icn_relay_scrub_age_seconds: { type: 'gauge', help: 'Every cached file was verified, or stored, within this time; absent before the first complete pass' }
} as const satisfies Record<string, MetricDefinition>
