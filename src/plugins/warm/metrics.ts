import type { MetricDefinition } from '../metrics/definition.ts'

export const warmMetrics = {
  icn_relay_warm_jobs: { type: 'gauge', help: 'Warm jobs that are remembered', labels: ['state'] },
  icn_relay_warm_pending: { type: 'gauge', help: 'Shards and manifests that open warm jobs have to bring in' },
  icn_relay_warm_waiting: { type: 'gauge', help: '1 while a warm job waits for less load, the end of a drain, the cache after a start, or super-nodes' },
  icn_relay_warm_shards_total: { type: 'counter', help: 'Shards and manifests that warm jobs are through with: fetched, present (the cache had it), failed', labels: ['outcome'] },
  icn_relay_warm_bytes_total: { type: 'counter', help: 'Bytes of shards and manifests that warm jobs have fetched' },
  icn_relay_warm_feed_polls_total: { type: 'counter', help: 'Times the feed was read: changed, unchanged, failed', labels: ['outcome'] },
  icn_relay_warm_feed_videos_total: { type: 'counter', help: 'Newly published videos that the feed has named' }
} as const satisfies Record<string, MetricDefinition>
