import { syntheticRequests } from '../request-mix.ts'
import { SHARD_BYTES, type Scenario } from '../scenario.ts'

const BYTES = 65_536

export const range: Scenario = {
  name: 'range',
  title: 'ranges of 64 KiB at changing places of 1 MB hits',
  surface: 'viewer',
  mix: {
    kind: 'rotate',
    // A step that is not a divisor of the size, so that ranges begin anywhere in a page.
    requests: syntheticRequests(20, SHARD_BYTES, 'range').map((request, index) => {
      const start = (index * 97_531) % (SHARD_BYTES - BYTES)
      return { ...request, headers: { range: `bytes=${start}-${start + BYTES - 1}` } }
    })
  },
  expect: { status: 206, bytes: BYTES },
  warm: true,
  connections: 20
}
