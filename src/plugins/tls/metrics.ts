import type { MetricDefinition } from '../metrics/definition.ts'

export const tlsMetrics = {
  icn_relay_certificate_not_after_timestamp_seconds: { type: 'gauge', help: 'When the certificate that viewers get ends, Unix time; a self-signed one is renewed before', labels: ['source'] }
} as const satisfies Record<string, MetricDefinition>
