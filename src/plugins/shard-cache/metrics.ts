import type { MetricDefinition } from '../metrics/definition.ts'

/** From the page cache to a disk in trouble. */
const DISK_BUCKETS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5]

export const shardCacheMetrics = {
  icn_relay_cache_hits_total: { type: 'counter', help: 'Objects served from the cache', labels: ['tier'] },
  icn_relay_cache_misses_total: { type: 'counter', help: 'Objects that had to come from a super-node; collapsed: joined a fetch under way', labels: ['collapsed'] },
  icn_relay_cache_evictions_total: { type: 'counter', help: 'Objects evicted to make room', labels: ['tier'] },
  icn_relay_cache_removals_total: { type: 'counter', help: 'Objects removed for any reason', labels: ['tier', 'reason'] },
  icn_relay_cache_size_bytes: { type: 'gauge', help: 'Bytes of cached objects on disk' },
  icn_relay_cache_capacity_bytes: { type: 'gauge', help: 'Bound of the disk cache in force; below cache.max_bytes while the disk is short of room' },
  icn_relay_cache_utilization_percent: { type: 'gauge', help: 'Used share of the capacity, objects being filled included' },
  icn_relay_cache_reserved_bytes: { type: 'gauge', help: 'Bytes reserved by objects being filled' },
  icn_relay_cache_condemned_bytes: { type: 'gauge', help: 'Bytes of removed objects that readers still hold' },
  icn_relay_cache_entries: { type: 'gauge', help: 'Objects in the cache', labels: ['tier'] },
  icn_relay_cache_partial_objects: { type: 'gauge', help: 'Objects of which the cache keeps some blocks, since their fill ended early; their room is reserved' },
  icn_relay_cache_ram_bytes: { type: 'gauge', help: 'Bytes of the memory tier in use' },
  icn_relay_cache_pass_through_bytes: { type: 'gauge', help: 'Memory of objects that pass through without being stored' },
  icn_relay_cache_store_bypassed_total: { type: 'counter', help: 'Objects served without being stored', labels: ['reason'] },
  icn_relay_cache_index_pending: { type: 'gauge', help: 'Index changes not written yet' },
  icn_relay_cache_free_bytes: { type: 'gauge', help: 'Free space of the disk of the cache' },
  icn_relay_cache_problem: { type: 'gauge', help: '1 while the cache has a lasting problem: hung, full, failing (it does not store), index', labels: ['problem'] },
  icn_relay_cache_verified_reads_total: { type: 'counter', help: 'Files verified before a viewer got them, see cache.verify_reads; busy: not verified, and the request went on as a miss', labels: ['outcome'] },
  icn_relay_cache_rot_total: { type: 'counter', help: 'Objects evicted since the bytes of their file had changed, by who found that: a reader, a copy to memory, the scrub', labels: ['finder'] },
  icn_relay_disk_late_operations: { type: 'gauge', help: 'Disk operations past cache.io_timeout_ms that have not ended; each holds a thread' },
  icn_relay_cache_open_files: { type: 'gauge', help: 'Shard files held open' },
  icn_relay_disk_io_wait_seconds: { type: 'histogram', help: 'Time a disk operation kept its caller waiting', labels: ['operation'], buckets: DISK_BUCKETS },
  icn_relay_disk_errors_total: { type: 'counter', help: 'Disk operations that failed', labels: ['operation', 'code'] }
} as const satisfies Record<string, MetricDefinition>
