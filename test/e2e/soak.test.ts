import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runSoak } from '../../autocannon/soak/run-soak.ts'

test('twenty seconds of soak: right bytes, nothing held, counters that add up, through kills, faults and purges', { timeout: 240_000 }, async t => {
  const { violations, disturbances, storm, calm } = await runSoak(t, { seconds: 20, viewers: 4, seed: 7 }, line => { t.diagnostic(line) })
  assert.deepEqual(violations, [])
  assert.ok(Object.keys(disturbances).length >= 5, JSON.stringify(disturbances))
  assert.ok((disturbances['kill-gateway'] ?? 0) >= 1)
  for (const { transports } of [storm, calm]) for (const transport of ['http', 'webtransport', 'websocket']) assert.ok((transports[transport]?.ok ?? 0) > 0, transport)
})
