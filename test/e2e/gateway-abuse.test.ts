import assert from 'node:assert/strict'
import test from 'node:test'
import { startSuperNode } from '../../demo/super-node/server.ts'
import { GatewayAbuse } from '../../tools/harness/gateway-abuse.ts'
import { metric } from '../../tools/harness/http.ts'
import { NEVER_OVERLOADED, PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { spawnRelay } from '../../tools/harness/processes.ts'

const MB = 1024 * 1024
/** What a phase may leave in memory: the heap of JavaScript grows and shrinks by that much without a leak. */
const GROWTH = 48 * MB
const HEARTBEAT_MS = 50
/** A thirtieth of what `benchmarks/gateway-abuse.ts` does; every truncation is there in both. */
const COUNTS = { sessions: 300, streams: 3_000, uninvited: 90, unended: 990, unwanted: 4, halfOpen: 1_000, cryptoGaps: 20, datagrams: 2_000, mutated: 2_000, truncationStep: 1 }

test('sessions, streams, half-open handshakes, noise, mutated packets and truncated requests leave nothing behind', { timeout: 300_000 }, async t => {
  const origin = await startSuperNode({ port: 0 })
  t.after(async () => { await origin.close() })
  const relay = await spawnRelay(t, [origin], { transport: { engine: 'quinn', handshake_timeout_ms: 1_000, idle_timeout_ms: 5_000, heartbeat_ms: HEARTBEAT_MS }, upstream: PATIENT_UPSTREAM, overload: NEVER_OVERLOADED })
  const abuse = await GatewayAbuse.of(relay, { tolerance: GROWTH, heartbeatMs: HEARTBEAT_MS })
  t.after(() => { abuse.end() })
  // The first round brings memory to its plateau: code, pools and heap grow once.
  await abuse.run({ ...COUNTS, truncationStep: 0 })
  const rows = await abuse.run(COUNTS)
  for (const { phase, before, peak, after, seconds } of rows) {
    t.diagnostic(`${phase}: ${[before, peak, after].map(bytes => Math.round(bytes / MB)).join(' / ')} MB before, at most, after; ${seconds.toFixed(1)} s`)
    assert.ok(after < before + GROWTH, `${phase}: ${before} became ${after}`)
  }
  assert.equal(await metric(relay.adminUrl, 'icn_relay_gateway_restarts_total', '{reason="exit"}'), 0)
  assert.equal(await metric(relay.adminUrl, 'icn_relay_gateway_leases'), 0)
})
