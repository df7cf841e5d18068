import type { MetricDefinition } from '../metrics/definition.ts'

export const purgeMetrics = {
  icn_relay_purged_objects_total: { type: 'counter', help: 'Cached objects that operators have purged with one request for many' },
  icn_relay_purges: { type: 'gauge', help: 'Purges under way and waiting' },
  icn_relay_cache_tagged_cids: { type: 'gauge', help: 'CIDs in the cache that have tags' },
  icn_relay_cache_tag_bytes: { type: 'gauge', help: 'Memory of the sets of tags that CIDs have' },
  icn_relay_cache_tags_refused_total: { type: 'counter', help: 'Times that tags were left out, because a CID has 16 or all sets of tags together take 32 MiB; a purge by them does not find the CID' }
} as const satisfies Record<string, MetricDefinition>
