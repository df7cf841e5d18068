import { syntheticRequests } from '../request-mix.ts'
import { SHARD_BYTES, type Scenario } from '../scenario.ts'

export const mixed: Scenario = {
  name: 'mixed',
  title: '95 % hits by popularity (Zipf 0.9), 5 % misses, 1 MB',
  surface: 'viewer',
  mix: { kind: 'zipf', requests: syntheticRequests(100, SHARD_BYTES, 'mixed'), exponent: 0.9, freshShare: 0.05, fresh: { bytes: SHARD_BYTES, label: 'mixed-miss' } },
  expect: { status: 200, bytes: SHARD_BYTES },
  warm: true,
  connections: 20,
  relay: { cache: { max_bytes: 2_000_000_000 } }
}
