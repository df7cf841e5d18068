import { syntheticRequests } from '../request-mix.ts'
import { SHARD_BYTES, type Scenario } from '../scenario.ts'

export const hit1mb: Scenario = {
  name: 'hit-1mb',
  title: 'hits of 1 MB out of the memory tier',
  surface: 'viewer',
  mix: { kind: 'rotate', requests: syntheticRequests(20, SHARD_BYTES, 'hit1') },
  expect: { status: 200, bytes: SHARD_BYTES },
  warm: true,
  connections: 10
}
