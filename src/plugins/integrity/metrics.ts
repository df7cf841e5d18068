import type { MetricDefinition } from '../metrics/definition.ts'

export const integrityMetrics = {
  icn_relay_integrity_checks_total: { type: 'counter', help: 'Objects compared with the manifest of their CID: verified, unverified (no manifest is believed), disputed (super-nodes contradict each other, not stored), wrong', labels: ['outcome'] },
  icn_relay_integrity_manifests_total: { type: 'counter', help: 'Questions for the manifest of a CID: believed, unsure (none, or too few agree), conflict, busy (too many at the same time)', labels: ['outcome'] },
  icn_relay_integrity_manifest_faults_total: { type: 'counter', help: 'Manifests of super-nodes that were refused, by reason', labels: ['fault'] },
  icn_relay_integrity_settled_total: { type: 'counter', help: 'Unverified objects of the cache whose manifest was believed later: verified or evicted', labels: ['outcome'] },
  icn_relay_integrity_manifests: { type: 'gauge', help: 'Believed manifests in memory' },
  icn_relay_integrity_quarantined: { type: 'gauge', help: 'Pairs of super-node and object of which the one is not asked for the other' }
} as const satisfies Record<string, MetricDefinition>
