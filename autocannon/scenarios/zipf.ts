import { syntheticRequests } from '../request-mix.ts'
import type { Scenario } from '../scenario.ts'

const BYTES = 100_000
const OBJECTS = 5_000

export const zipf: Scenario = {
  name: 'zipf',
  title: 'a cold cache a third of the catalogue in size, asked by popularity (Zipf 1.0): the hit ratio is its own doing',
  surface: 'viewer',
  mix: { kind: 'zipf', requests: syntheticRequests(OBJECTS, BYTES, 'zipf'), exponent: 1, freshShare: 0, fresh: { bytes: BYTES, label: 'none' } },
  expect: { status: 200, bytes: BYTES },
  warm: false,
  connections: 20,
  relay: { cache: { max_bytes: Math.round(OBJECTS * BYTES / 3), ram_bytes: 50_000_000 } }
}
