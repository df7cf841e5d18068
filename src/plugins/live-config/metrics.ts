import type { MetricDefinition } from '../metrics/definition.ts'

export const liveConfigMetrics = {
  icn_relay_config_reload_success: { type: 'gauge', help: 'Whether the configuration was read and taken over the last time that was tried; a start counts' },
  icn_relay_config_reload_success_timestamp_seconds: { type: 'gauge', help: 'When it was taken over last, seconds since the epoch' },
  icn_relay_config_reloads_total: { type: 'counter', help: 'Reloads of the configuration', labels: ['outcome'] },
  icn_relay_config_hash: { type: 'gauge', help: 'The first 48 bits of a hash of the configuration in force, without secrets; not cryptographically strong' },
  icn_relay_config_pending_keys: { type: 'gauge', help: 'Keys with another value, which a restart would put in force' },
  icn_relay_config_overrides: { type: 'gauge', help: 'Keys set over the admin API' }
} as const satisfies Record<string, MetricDefinition>
