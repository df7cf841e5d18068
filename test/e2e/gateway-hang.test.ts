import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import test, { type TestContext } from 'node:test'
import { startSuperNode, syntheticShard, type Faults } from '../../demo/super-node/server.ts'
import { connect } from '../../client/src/node.ts'
import { freePort } from '../../tools/harness/ci.ts'
import { gatewayPid } from '../../tools/harness/gateway-process.ts'
import { fetchHashed, metric, sha256, until } from '../../tools/harness/http.ts'
import { PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { spawnRelay, type SpawnedRelay } from '../../tools/harness/processes.ts'

const SIZE = 200_000
const CID = `syn-${SIZE}-hang`

async function setup (t: TestContext, transport: Record<string, unknown> = {}, viewer: Record<string, unknown> = {}, faults: Faults = {}): Promise<SpawnedRelay> {
  const origin = await startSuperNode({ port: 0, faults })
  t.after(async () => { await origin.close() })
  return await spawnRelay(t, [origin], { transport: { engine: 'quinn', ...transport }, upstream: PATIENT_UPSTREAM, viewer })
}

async function alive (pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return stat !== '' && !/\) Z /.test(stat)
}

async function gateway (relay: SpawnedRelay): Promise<number> {
  const pid = await gatewayPid(relay.pid)
  assert.ok(pid)
  return pid
}

test('a gateway that hangs is killed and replaced on the same ports, and the relay serves HTTP meanwhile', { timeout: 240_000 }, async t => {
  const relay = await setup(t, { hang_ms: 1_000 })
  const client = await connect(relay.viewerUrl, { transports: ['webtransport'], attempts: 30, connectTimeoutMs: 20_000 })
  t.after(() => { client.close() })
  await client.fetchShard(CID, 0)
  // But for the ticket, another one each time, and the process, which is another one.
  const offer = async (): Promise<string> => (await (await fetch(`${relay.viewerUrl}/v1/transport`)).text()).replace(/ticket=[\w-]+/, '').replace(/"gateway":"\w+"/, '')
  const ports = await offer()
  const pid = await gateway(relay)
  process.kill(pid, 'SIGSTOP')
  assert.equal((await fetchHashed(`${relay.viewerUrl}/shards/${CID}/shard_1.bin`)).status, 200)
  await until(async () => await metric(relay.adminUrl, 'icn_relay_gateway_restarts_total', '{reason="hang"}'), count => count === 1)
  assert.equal(await alive(pid), false)
  const { bytes, transport } = await client.fetchShard(CID, 2)
  assert.equal(sha256(bytes), sha256(syntheticShard(CID, 2)))
  assert.equal(transport, 'webtransport')
  assert.equal(await offer(), ports)
})

test('a relay that itself stood still does not take its gateway for dead', { timeout: 240_000 }, async t => {
  const relay = await setup(t, { hang_ms: 500 })
  const pid = await gateway(relay)
  process.kill(relay.pid, 'SIGSTOP')
  await new Promise(resolve => { setTimeout(resolve, 2_000) })
  process.kill(relay.pid, 'SIGCONT')
  // Four looks of the supervisor later it is still the same.
  await new Promise(resolve => { setTimeout(resolve, 1_000) })
  assert.equal(await gatewayPid(relay.pid), pid)
  assert.equal(await metric(relay.adminUrl, 'icn_relay_gateway_restarts_total', '{reason="hang"}'), 0)
})

test('a gateway that grows beyond its bound is replaced', { timeout: 240_000 }, async t => {
  // The smallest bound there is; a heap of this size is above it from the start when tsx is loaded, so it is asked for little.
  const relay = await setup(t, { max_rss_bytes: 268_435_456, ram_bytes: 2_147_483_648 })
  // Degraded before that, the relay would copy nothing to the memory of its gateway.
  const forced = await fetch(`${relay.adminUrl}/admin/v1/overload`, { method: 'PUT', headers: { 'content-type': 'application/json' }, body: '{"override":"normal"}' })
  assert.equal(forced.status, 200)
  const client = await connect(relay.viewerUrl, { transports: ['websocket'], attempts: 30, connectTimeoutMs: 20_000 })
  t.after(() => { client.close() })
  const restarts = (): Promise<number> => metric(relay.adminUrl, 'icn_relay_gateway_restarts_total', '{reason="memory"}')
  // What is a hit for the second time is kept in the memory of the gateway.
  for (let video = 0; await restarts() === 0; video++) {
    for (let time = 0; time < 3; time++) await Promise.all([0, 1].map(async part => await client.fetchShard(`syn-8000000-grow${video}`, part)))
  }
  await until(async () => await metric(relay.adminUrl, 'icn_relay_gateway_up'), up => up === 1)
  await until(async () => await metric(relay.adminUrl, 'icn_relay_gateway_cpu_seconds_total', '{mode="user"}'), seconds => seconds > 0)
})

test('a relay that is killed takes its gateway with it', { timeout: 240_000 }, async t => {
  const relay = await setup(t)
  const pid = await gateway(relay)
  relay.child.kill('SIGKILL')
  await until(async () => await alive(pid), running => !running)
})

test('signals a terminal sends to the whole group do not end the gateway before its relay has stopped it', { timeout: 240_000 }, async t => {
  const relay = await setup(t)
  const pid = await gateway(relay)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.kill(pid, signal)
  const client = await connect(relay.viewerUrl, { transports: ['webtransport'], connectTimeoutMs: 20_000 })
  await client.fetchShard(CID, 0)
  client.close()
  assert.equal(await gatewayPid(relay.pid), pid)
  process.kill(pid, 'SIGINT')
  relay.child.kill('SIGINT')
  assert.deepEqual(await relay.exit, { code: 0, signal: null })
  assert.equal(await alive(pid), false)
})

test('stop: viewers are told, a response under way is finished, and the process ends in time with code 0', { timeout: 240_000 }, async t => {
  const relay = await setup(t, {}, { stop_timeout_ms: 8_000 }, { bytesPerSecond: 150_000 })
  const drains: number[] = []
  const client = await connect(relay.viewerUrl, { transports: ['webtransport'], connectTimeoutMs: 20_000, attempts: 1, onControl: message => { if (message.type === 'drain') drains.push(message.deadlineMs) } })
  t.after(() => { client.close() })
  const slow = client.fetchShard(CID, 3, { onProgress: ({ receivedBytes }) => { if (receivedBytes > 50_000) begun() } })
  let begun = (): void => {}
  await new Promise<void>(resolve => { begun = resolve })
  const began = performance.now()
  relay.child.kill('SIGTERM')
  assert.equal(sha256((await slow).bytes), sha256(syntheticShard(CID, 3)))
  assert.deepEqual(await relay.exit, { code: 0, signal: null })
  assert.ok(performance.now() - began < 8_000)
  assert.ok(drains.length > 0)
})

test('stop: a viewer that never finishes is cut at the deadline', { timeout: 240_000 }, async t => {
  const relay = await setup(t, {}, { stop_timeout_ms: 1_000 }, { stallAtBytes: 100_000 })
  const client = await connect(relay.viewerUrl, { transports: ['webtransport'], connectTimeoutMs: 20_000, attempts: 1 })
  t.after(() => { client.close() })
  let begun = (): void => {}
  const stuck = assert.rejects(client.fetchShard(CID, 4, { onProgress: () => { begun() } }))
  await new Promise<void>(resolve => { begun = resolve })
  const began = performance.now()
  relay.child.kill('SIGTERM')
  assert.deepEqual(await relay.exit, { code: 0, signal: null })
  assert.ok(performance.now() - began < 4_000, `${performance.now() - began} ms`)
  await stuck
})

test('a UDP port in use costs HTTP/3 only, and it is taken as soon as it comes free', { timeout: 240_000 }, async t => {
  // Free for TCP too, where the relay itself listens.
  const port = await freePort()
  const blocker = createSocket('udp4')
  t.after(() => { try { blocker.close() } catch { /* closed in the middle of the test */ } })
  blocker.bind(port, '127.0.0.1')
  await once(blocker, 'listening')
  const relay = await setup(t, {}, { port })
  const offer = async (): Promise<{ webtransport?: unknown, websocket?: unknown }> => await (await fetch(`${relay.viewerUrl}/v1/transport`)).json() as { webtransport?: unknown }
  const first = await offer()
  assert.deepEqual([first.webtransport === undefined, first.websocket === undefined], [true, false])
  assert.ok(relay.events.some(event => event['level'] === 'warn' && String(event['msg']).startsWith('no HTTP/3 ') && String(event['msg']).includes('EADDRINUSE')))
  // Over WebSocket where the certificate is trusted; a self-signed one is pinned by hashes that only the missing transport carries.
  const client = await connect(relay.viewerUrl, { connectTimeoutMs: 20_000 })
  assert.ok(['websocket', 'http'].includes(client.transport.transport))
  assert.equal(client.transport.failures[0]?.transport, 'webtransport')
  client.close()
  blocker.close()
  await until(offer, ({ webtransport }) => webtransport !== undefined)
  const better = await connect(relay.viewerUrl, { connectTimeoutMs: 20_000 })
  assert.equal(better.transport.transport, 'webtransport')
  better.close()
})
