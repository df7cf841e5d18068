import { syntheticRequests } from '../request-mix.ts'
import { SHARD_BYTES, entityTag, type Scenario } from '../scenario.ts'

export const conditional: Scenario = {
  name: 'conditional',
  title: 'revalidations with if-none-match, answered 304',
  surface: 'viewer',
  mix: {
    kind: 'rotate',
    requests: syntheticRequests(20, SHARD_BYTES, 'cond').map(request => ({ ...request, headers: { 'if-none-match': entityTag(request.path) } }))
  },
  expect: { status: 304, bytes: 0 },
  warm: true,
  connections: 20
}
