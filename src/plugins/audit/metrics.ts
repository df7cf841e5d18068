import type { MetricDefinition } from '../metrics/definition.ts'

export const auditMetrics = {
  icn_relay_audit_records_total: { type: 'counter', help: 'Records of who changed what' },
  icn_relay_audit_failures_total: { type: 'counter', help: 'Records that could not be written to their file; they are in the log' }
} as const satisfies Record<string, MetricDefinition>
