import { SHARD_BYTES, type Scenario } from '../scenario.ts'

export const miss: Scenario = {
  name: 'miss',
  title: 'misses of 1 MB, each fetched from a super-node and stored',
  surface: 'viewer',
  mix: { kind: 'fresh', fresh: { bytes: SHARD_BYTES, label: 'miss' } },
  expect: { status: 200, bytes: SHARD_BYTES },
  warm: false,
  connections: 10,
  // Small enough that a run of any length evicts and does not fill the disk.
  relay: { cache: { max_bytes: 2_000_000_000 } }
}
