import type { MetricDefinition } from '../metrics/definition.ts'

export const purgeMetrics = {
  icn_relay_purged_objects_total: { type: 'counter', help: 'Cached objects that were purged by CIDs, prefix or tag, or all: hard, they went; soft, they are stale', labels: ['mode'] },
  icn_relay_cache_stale_hits_total: { type: 'counter', help: 'Objects served although they are stale, while they are fetched again' },
  icn_relay_cache_expired_requests_total: { type: 'counter', help: 'Requests for cached objects whose time was over, beyond stale_while_revalidate_ms: same (a manifest says that super-nodes have the same), fetched (they sent it anew), stale (that failed, and it was served by stale_if_error_ms), failed (it may not be served any more)', labels: ['outcome'] },
  icn_relay_revalidations_total: { type: 'counter', help: 'Stale objects that were looked after: fresh (super-nodes have the same), replaced, gone (they have none), failed (it stays stale)', labels: ['outcome'] },
  icn_relay_revalidations: { type: 'gauge', help: 'Stale objects that are being looked after, and that wait for it' },
  icn_relay_purges: { type: 'gauge', help: 'Purges under way and waiting' },
  icn_relay_cache_tagged_cids: { type: 'gauge', help: 'CIDs in the cache that have tags' },
  icn_relay_cache_tag_bytes: { type: 'gauge', help: 'Memory of the sets of tags that CIDs have' },
  icn_relay_cache_tags_refused_total: { type: 'counter', help: 'Times that tags were left out, because a CID has 16 or all sets of tags together take 32 MiB; a purge by them does not find the CID' }
} as const satisfies Record<string, MetricDefinition>
