import type { MetricDefinition } from '../metrics/definition.ts'

export const accessLogMetrics = {
  icn_relay_access_log_lines_total: { type: 'counter', help: 'Lines of the access log' },
  icn_relay_access_log_dropped_total: { type: 'counter', help: 'Records that were lost; file: it could not be written, or not in time; budget: too many failed requests in a second; gateway: too many for its way to the relay; listener: of a stream, which nobody read in time', labels: ['where'] }
} as const satisfies Record<string, MetricDefinition>
