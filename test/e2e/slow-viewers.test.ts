/** Slow-loris: readers of a byte a second, half-sent requests and closed windows beside honest viewers, over HTTP and WebTransport. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { Agent } from 'undici'
import { startSuperNode, syntheticShard } from '../../demo/super-node/server.ts'
import { CHUNK_BYTES } from '../../src/storage/disk-files.ts'
import { gatewayPid, gatewaySizes } from '../../tools/harness/gateway-process.ts'
import { fetchHashed, inParallel, metric, sha256, until } from '../../tools/harness/http.ts'
import { openSession, readAll } from '../../tools/harness/quinn-rig.ts'
import { DEFAULT_LIMITS } from '../../tools/harness/default-limits.ts'
import { GENEROUS_LIMITS, PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { residentBytes } from '../../tools/harness/proc.ts'
import { spawnRelay, type SpawnedRelay } from '../../tools/harness/processes.ts'
import { SlowViewers } from '../../tools/harness/slow-viewers.ts'

const MB = 1024 * 1024
const LARGE = `/shards/syn-${8 * MB}-slow/shard_0.bin`
const CID = 'syn-100000-honest'
const CROWD = { readers: 500, zeroWindow: 100, halfSent: 100, sessions: 10, streams: 20, halfStreams: 20 }
/** Over HTTP the relay keeps two chunks of 256 KiB at most for a viewer that does nothing, and 64 MiB of large ones for all together; as much again is what the honest ones leave for the collector. The gateway keeps less than a chunk. */
const GROWTH = { relay: (CROWD.readers + CROWD.zeroWindow) * 2 * CHUNK_BYTES + 128 * MB, gateway: 200 * MB }

const digests = Array.from({ length: 14 }, (_, part) => sha256(syntheticShard(CID, part)))

async function honestHttp (relay: SpawnedRelay): Promise<void> {
  const agent = new Agent({ connections: 20 })
  const bodies = await inParallel(Array.from({ length: 280 }, (_, n) => n % 14), 20, async part => ({ part, body: await fetchHashed(`${relay.viewerUrl}/shards/${CID}/shard_${part}.bin`, {}, agent) }))
  await agent.destroy()
  for (const { part, body } of bodies) assert.deepEqual([body.status, body.sha256], [200, digests[part]])
}

async function honestSession (viewerUrl: string): Promise<void> {
  const session = await openSession(viewerUrl)
  for (let part = 0; part < 14; part++) {
    const stream = await session.openBidi()
    await stream.write(Buffer.from(`GET /shards/${CID}/shard_${part}.bin HTTP/1.1\r\n\r\n`))
    await stream.end()
    const answer = await readAll(stream)
    const head = answer.indexOf('\r\n\r\n')
    assert.match(answer.toString('latin1', 0, head), /^HTTP\/1\.1 200 OK\r\n/)
    assert.equal(sha256(answer.subarray(head + 4)), digests[part])
  }
  session.close()
}

test('500 readers of a byte a second, closed windows and half-sent requests: honest viewers are served, memory stays flat, nothing is left', { timeout: 280_000, skip: process.platform === 'linux' ? false : 'needs /proc' }, async t => {
  const origin = await startSuperNode({ port: 0 })
  t.after(async () => { await origin.close() })
  // By default but for requests of one address: the honest ones all come from here, in a hurry.
  const limits = { ...DEFAULT_LIMITS, handshakes_per_second_per_ip: GENEROUS_LIMITS.handshakes_per_second_per_ip, requests_per_second_per_viewer: GENEROUS_LIMITS.requests_per_second_per_viewer }
  const relay = await spawnRelay(t, [origin], { limits, transport: { engine: 'quinn' }, viewer: { request_timeout_ms: 5_000 }, upstream: PATIENT_UPSTREAM })
  const pid = await gatewayPid(relay.pid)
  assert.ok(pid !== undefined)
  const target = { viewerUrl: relay.viewerUrl, path: LARGE }
  const honest = async (): Promise<void> => {
    await Promise.all([honestHttp(relay), ...Array.from({ length: 5 }, async () => { await honestSession(relay.viewerUrl) })])
  }

  // What everybody asks for is hot, and memory at the height of a busy relay.
  for (let time = 0; time < 3; time++) await fetchHashed(relay.viewerUrl + LARGE)
  await honest()
  const before = { relay: await residentBytes(relay.pid), gateway: await residentBytes(pid) }
  const peak = { ...before }
  const sampler = setInterval(() => {
    void residentBytes(relay.pid).then(bytes => { peak.relay = Math.max(peak.relay, bytes) })
    void residentBytes(pid).then(bytes => { peak.gateway = Math.max(peak.gateway, bytes) })
  }, 50)
  t.after(() => { clearInterval(sampler) })

  const crowd = await SlowViewers.gather(target, CROWD)
  t.after(() => { crowd.end() })
  assert.deepEqual([SlowViewers.open(crowd.readers), SlowViewers.open(crowd.zeroWindow)], [500, 100])
  await honest()
  await honest()
  // Those that never finish their request are let go by the relay, whatever their transport.
  await until(async () => SlowViewers.open(crowd.halfSent), open => open === 0)
  await until(async () => await metric(relay.adminUrl, 'icn_relay_viewer_streams_total', '{transport="webtransport",outcome="client-error"}'), count => count === CROWD.sessions * CROWD.halfStreams)
  await honest()
  clearInterval(sampler)
  const growth = { relay: peak.relay - before.relay, gateway: peak.gateway - before.gateway }
  t.diagnostic(`RSS before, growth at most: relay ${Math.round(before.relay / MB)}, ${Math.round(growth.relay / MB)} MB; gateway ${Math.round(before.gateway / MB)}, ${Math.round(growth.gateway / MB)} MB`)
  assert.ok(growth.relay < GROWTH.relay, `relay grew by ${growth.relay}`)
  assert.ok(growth.gateway < GROWTH.gateway, `gateway grew by ${growth.gateway}`)

  crowd.end()
  for (const transport of ['http', 'webtransport']) {
    await until(async () => await metric(relay.adminUrl, 'icn_relay_viewer_connections', `{transport="${transport}"}`), count => count <= 1)
  }
  await until(async () => await gatewaySizes(relay.adminUrl), sizes => sizes['webtransport.streams'] === 0 && sizes['relay.leases'] === 0)
  await until(async () => await metric(relay.adminUrl, 'icn_relay_cache_open_files'), files => files === 0)
  assert.equal(await metric(relay.adminUrl, 'icn_relay_gateway_restarts_total', '{reason="exit"}') + await metric(relay.adminUrl, 'icn_relay_gateway_restarts_total', '{reason="memory"}'), 0)
})
