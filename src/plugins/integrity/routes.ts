import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Config } from '../../config/config.ts'
import { reads } from '../admin/route.ts'
import { IntegrityReport } from '../admin/schemas.ts'
import type { EvidenceBook } from './evidence.ts'
import type { ManifestStore } from './manifest-store.ts'
import type { Quarantine } from './quarantine.ts'

/** What the report is made of. */
export interface IntegrityReportSource {
  readonly config: Pick<Config, 'cache' | 'trust'>
  readonly store: Pick<ManifestStore, 'size' | 'asking'>
  readonly quarantine: Pick<Quarantine, 'size'>
  readonly evidence: Pick<EvidenceBook, 'offenders' | 'latest'>
}

/** Pieces of evidence in one answer: some 30 kB. */
const SHOWN_EVIDENCE = 100

/** `/integrity`: whether objects are compared with manifests, and who sent wrong ones. */
export const integrityRoutes: FastifyPluginAsyncTypebox<IntegrityReportSource> = async (app, { config, store, quarantine, evidence }) => {
  app.get('/integrity', reads('integrity', {
    operationId: 'getIntegrity',
    summary: 'How objects are verified, and which super-nodes sent wrong ones',
    description: 'Evidence is kept in memory, at most 32 pieces of each super-node.'
  }, IntegrityReport), async () => ({
    mode: config.cache.integrity,
    publishers: config.trust.publishers.length,
    quorum: config.trust.quorum,
    unverified: config.trust.unverified,
    manifests: store.size,
    asking: store.asking,
    quarantined: quarantine.size,
    offenders: evidence.offenders(),
    evidence: evidence.latest(SHOWN_EVIDENCE).map(({ nodes, key, expected, received, by, at }) => ({ nodes: [...nodes], ...key, expected, received: received ?? null, by, at }))
  }))
}
