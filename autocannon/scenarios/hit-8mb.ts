import { syntheticRequests } from '../request-mix.ts'
import { MB } from '../result.ts'
import type { Scenario } from '../scenario.ts'

const BYTES = 8 * MB

export const hit8mb: Scenario = {
  name: 'hit-8mb',
  title: 'hits of 8 MB out of the memory tier',
  surface: 'viewer',
  mix: { kind: 'rotate', requests: syntheticRequests(5, BYTES, 'hit8') },
  expect: { status: 200, bytes: BYTES },
  warm: true,
  connections: 10
}
