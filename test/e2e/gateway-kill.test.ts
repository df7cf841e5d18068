import assert from 'node:assert/strict'
import test from 'node:test'
import { Agent } from 'undici'
import { startSuperNode, syntheticShard } from '../../demo/super-node/server.ts'
import { connect } from '../../client/src/node.ts'
import { gatewayPid, gatewaySizes } from '../../tools/harness/gateway-process.ts'
import { cacheStats, fetchHashed, metric, sha256, until } from '../../tools/harness/http.ts'
import { buildRelay, spawnRelay } from '../../tools/harness/processes.ts'
import { NEVER_OVERLOADED, PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'

const SIZE = 60_000
const VIEWERS = 50
const CID = `syn-${SIZE}-kill`
test('kill -9 of the gateway under 50 active viewers: HTTP does not notice, another one comes, viewers finish, nothing leaks', { timeout: 240_000 }, async t => {
  const phase = { fetching: true, probing: true, kills: 0 }
  // First of all hooks: with the relay gone what goes on asking would be refused without a pause, and nothing else would get its turn.
  t.after(() => { phase.fetching = phase.probing = false })
  const origin = await startSuperNode({ port: 0 })
  t.after(async () => { await origin.close() })
  // The super-node shares its event loop with 50 clients that connect, and may be late. Built, as it is installed: a start from the sources compiles them, which takes longer than all the rest.
  const relay = await spawnRelay(t, [origin], { transport: { engine: 'quinn', heartbeat_ms: 100 }, upstream: PATIENT_UPSTREAM, overload: NEVER_OVERLOADED }, undefined, { program: await buildRelay(t) })
  const digests = Array.from({ length: 14 }, (_, part) => sha256(syntheticShard(CID, part)))
  const agent = new Agent({ connections: 4 })
  t.after(async () => { await agent.destroy() })

  const fetched = Array.from({ length: VIEWERS }, () => [0, 0, 0])
  /** When each viewer last had a shard. */
  const fetchedAt = fetched.map(() => 0)
  const wrong: string[] = []
  const viewers = fetched.map(async (counts, viewer) => {
    const client = await connect(relay.viewerUrl, { transports: ['webtransport'], attempts: 20, connectTimeoutMs: 30_000, concurrency: 2 })
    t.after(() => { client.close() })
    while (phase.fetching) {
      const part = (viewer + (counts[phase.kills] ?? 0)) % 14
      const { bytes, transport } = await client.fetchShard(CID, part)
      if (sha256(bytes) !== digests[part] || transport !== 'webtransport') wrong.push(`viewer ${viewer} part ${part} over ${transport}`)
      counts[phase.kills] = (counts[phase.kills] ?? 0) + 1
      fetchedAt[viewer] = performance.now()
    }
    client.close()
  })
  let probes = 0
  const failedProbes: unknown[] = []
  const prober = Array.from({ length: 3 }, async () => {
    while (phase.probing) {
      const got = await fetchHashed(`${relay.viewerUrl}/shards/${CID}/shard_${probes % 14}.bin`, {}, agent).catch((error: unknown) => error)
      if (got instanceof Error || (got as { status: number }).status !== 200) failedProbes.push(got)
      probes++
    }
  })
  const everyone = Promise.all(viewers)
  const fetchedSince = (kills: number): Promise<unknown> => Promise.race([everyone, until(async () => fetched.every(counts => (counts[kills] ?? 0) >= 3), done => done)])

  await fetchedSince(0)
  for (const kill of [1, 2]) {
    const before = await gatewayPid(relay.pid)
    assert.ok(before)
    process.kill(before, 'SIGKILL')
    const killed = performance.now()
    phase.kills = kill
    await until(async () => await gatewayPid(relay.pid), pid => pid !== undefined && pid !== before)
    await until(async () => await metric(relay.adminUrl, 'icn_relay_gateway_up'), up => up === 1)
    const back = performance.now()
    t.diagnostic(`gateway back after ${Math.round(back - killed)} ms`)
    // What comes from now on the new gateway has sent.
    const recovered = new Map<number, number>()
    await Promise.race([everyone, until(async () => {
      for (const [viewer, at] of fetchedAt.entries()) if (at > back && !recovered.has(viewer)) recovered.set(viewer, Math.round(at - killed))
      return recovered.size
    }, count => count === VIEWERS)])
    const times = [...recovered.values()].sort((one, other) => one - other)
    t.diagnostic(`viewers fetched again after ${times[0]} ms (first), ${times[VIEWERS / 2]} (median), ${times[Math.floor(VIEWERS * 0.9)]} (90 %), ${times.at(-1)} (last)`)
    assert.equal(times.length, VIEWERS)
    await fetchedSince(kill)
  }
  phase.fetching = false
  await everyone
  phase.probing = false
  await Promise.all(prober)

  assert.deepEqual(wrong, [])
  assert.deepEqual(failedProbes, [])
  assert.ok(probes > 50, `${probes} HTTP requests`)
  assert.equal(await metric(relay.adminUrl, 'icn_relay_gateway_restarts_total', '{reason="exit"}'), 2)
  await until(async () => await metric(relay.adminUrl, 'icn_relay_gateway_leases'), leases => leases === 0)
  const stats = await until(async () => await cacheStats(relay.adminUrl), value => value.disk.openFiles === 0)
  assert.equal(stats.disk.condemnedBytes, 0)
  const { entries } = await (await fetch(`${relay.adminUrl}/admin/v1/cache/shards?limit=100`)).json() as { entries: { readers: number }[] }
  assert.ok(entries.length === 14 && entries.every(entry => entry.readers === 0))
  // The gateway's own come with its next heartbeat.
  const held = ['relay.leases', 'relay.resolving', 'relay.reading', 'source.leases', 'source.resolving', 'source.reading', 'source.openFiles']
  await until(async () => await gatewaySizes(relay.adminUrl), sizes => held.every(name => sizes[name] === 0))
  relay.child.kill('SIGTERM')
  assert.deepEqual(await relay.exit, { code: 0, signal: null })
  t.diagnostic(`${probes} HTTP requests, ${fetched.flat().reduce((sum, count) => sum + count, 0)} shards over WebTransport`)
})
