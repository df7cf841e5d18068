import type { MetricDefinition } from '../metrics/definition.ts'

export const p2pMetrics = {
  icn_relay_p2p_peers: { type: 'gauge', help: 'Peers the relay holds a connection to: those of libp2p with p2p.enabled, else super-nodes' },
  icn_relay_p2p_lookups_total: { type: 'counter', help: 'Questions to the DHT who holds a CID: found, none, refused (records came and none is believed), timeout, busy (too many at the same time), failed', labels: ['outcome'] },
  icn_relay_p2p_records_refused_total: { type: 'counter', help: 'Holder records that were refused, by reason; `private`: no holder has an address that may be connected to', labels: ['fault'] },
  icn_relay_p2p_holders: { type: 'gauge', help: 'Super-nodes that the DHT has named and that are kept connected or checked' },
  icn_relay_p2p_restarts_total: { type: 'counter', help: 'Times the thread of libp2p ended by itself and was started again' }
} as const satisfies Record<string, MetricDefinition>
