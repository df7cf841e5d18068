import { accessLogMetrics } from '../access-log/metrics.ts'
import { adminMetrics } from '../admin/metrics.ts'
import { auditMetrics } from '../audit/metrics.ts'
import { authMetrics } from '../auth/metrics.ts'
import { bandwidthMetrics } from '../bandwidth/metrics.ts'
import { denylistMetrics } from '../denylist/metrics.ts'
import { integrityMetrics } from '../integrity/metrics.ts'
import { limitsMetrics } from '../limits/metrics.ts'
import { liveConfigMetrics } from '../live-config/metrics.ts'
import { overloadMetrics } from '../overload/metrics.ts'
import { p2pMetrics } from '../p2p/metrics.ts'
import { pinsMetrics } from '../pins/metrics.ts'
import { prefetchMetrics } from '../prefetch/metrics.ts'
import { purgeMetrics } from '../purge/metrics.ts'
import { regionMetrics } from '../region/metrics.ts'
import { repairMetrics } from '../repair/metrics.ts'
import { scrubMetrics } from '../scrub/metrics.ts'
import { shardCacheMetrics } from '../shard-cache/metrics.ts'
import { shardsMetrics } from '../shards/metrics.ts'
import { sizingMetrics } from '../sizing/metrics.ts'
import { tlsMetrics } from '../tls/metrics.ts'
import { upstreamMetrics } from '../upstream/metrics.ts'
import { usageMetrics } from '../usage/metrics.ts'
import { viewerHttpMetrics } from '../viewer-http/metrics.ts'
import { viewersMetrics } from '../viewers/metrics.ts'
import { warmMetrics } from '../warm/metrics.ts'
import type { MetricDefinition } from './definition.ts'

export type { MetricDefinition } from './definition.ts'

/** Every metric of the relay besides Node's own (`process_*`, `nodejs_*`), by concern. Label values come from closed lists or the configuration. */
export const METRICS = {
  ...shardCacheMetrics,
  ...sizingMetrics,
  ...scrubMetrics,
  ...upstreamMetrics,
  ...p2pMetrics,
  ...regionMetrics,
  ...integrityMetrics,
  ...denylistMetrics,
  ...repairMetrics,
  ...shardsMetrics,
  ...prefetchMetrics,
  ...warmMetrics,
  ...purgeMetrics,
  ...pinsMetrics,
  ...bandwidthMetrics,
  ...viewersMetrics,
  ...limitsMetrics,
  ...authMetrics,
  ...tlsMetrics,
  ...overloadMetrics,
  ...viewerHttpMetrics,
  ...adminMetrics,
  ...auditMetrics,
  ...usageMetrics,
  ...accessLogMetrics,
  ...liveConfigMetrics,
  icn_relay_build_info: { type: 'gauge', help: 'Always 1; version of the relay and of Node', labels: ['version', 'node'] },
  icn_relay_log_lines_dropped_total: { type: 'counter', help: 'Log lines dropped because nobody read standard output in time, or it could not be written' }
} as const satisfies Record<string, MetricDefinition>

export type MetricName = keyof typeof METRICS
