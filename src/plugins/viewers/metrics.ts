import { OWN_COUNTERS, type OwnCounter } from '../../channel/gateway-counters.ts'
import type { MetricDefinition } from '../metrics/definition.ts'

const ownCounters = Object.fromEntries(Object.entries(OWN_COUNTERS).map(([name, { help, labels }]) => [name, { type: 'counter', help, labels: Object.keys(labels) }])) as unknown as Readonly<Record<OwnCounter, { readonly type: 'counter', readonly help: string, readonly labels: readonly string[] }>>

export const viewersMetrics = {
  icn_relay_viewer_connections: { type: 'gauge', help: 'Viewer connections now', labels: ['transport'] },
  ...ownCounters,
  icn_relay_gateway_up: { type: 'gauge', help: '1 while the gateway process listens' },
  icn_relay_gateway_restarts_total: { type: 'counter', help: 'Times the gateway process was started again, by how it ended', labels: ['reason'] },
  icn_relay_gateway_leases: { type: 'gauge', help: 'Objects the relay holds open for the gateway' },
  icn_relay_gateway_cpu_seconds_total: { type: 'counter', help: 'CPU time of gateway processes, of all that have run', labels: ['mode'] },
  icn_relay_gateway_rss_bytes: { type: 'gauge', help: 'Resident memory of the gateway process' },
  icn_relay_gateway_size: { type: 'gauge', help: 'Entries in every map and queue of the gateway process', labels: ['name'] }
} as const satisfies Record<string, MetricDefinition>
