import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import test, { type TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { request } from 'undici'
import { syntheticShard } from '../../demo/super-node/server.ts'
import { metric, sha256, until } from '../../tools/harness/http.ts'
import { PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { spawnRelay, spawnSuperNode, type SpawnedRelay } from '../../tools/harness/processes.ts'
import { head } from '../support/raw-http.ts'

/** The numbers of the case: more objects than there are connections to a node, each a byte a second, given up after two seconds. */
const OBJECTS = 70
const CONNECTIONS = 64
const GONE_AFTER_MS = 2_000
/** For so long every other miss was 504; that long would be a slow test, and the first seconds are the hard ones. */
const WATCHED_MS = 12_000
const DRIP = { match: 'drip', bytesPerSecond: 1 }
const SIZE = 20_000

const path = (name: string): string => `/shards/syn-${SIZE}-${name}/shard_0.bin`

/** A viewer who reads what comes. */
async function viewerOf (t: TestContext, relay: SpawnedRelay, name: string): Promise<Socket> {
  const { hostname, port } = new URL(relay.viewerUrl)
  const socket = connect(Number(port), hostname)
  t.after(() => { socket.destroy() })
  socket.on('error', () => {})
  socket.resume().write(head('GET', path(name)))
  await once(socket, 'connect')
  return socket
}

interface Miss {
  readonly status: number
  readonly ms: number
}

async function miss (relay: SpawnedRelay, name: string): Promise<Miss> {
  const start = performance.now()
  const { statusCode, body } = await request(relay.viewerUrl + path(name))
  const bytes = Buffer.from(await body.arrayBuffer())
  if (statusCode === 200) assert.equal(sha256(bytes), sha256(syntheticShard(`syn-${SIZE}-${name}`, 0)))
  return { status: statusCode, ms: performance.now() - start }
}

/** One miss after the other until the time is up. */
async function missesFor (ms: number, relay: SpawnedRelay, name: string): Promise<Miss[]> {
  const misses: Miss[] = []
  for (const end = performance.now() + ms; performance.now() < end;) {
    misses.push(await miss(relay, `${name}${misses.length}`))
    await delay(20)
  }
  return misses
}

const count = (misses: readonly Miss[]): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const { status } of misses) counts[status] = (counts[status] ?? 0) + 1
  return counts
}

async function heldConnections (relay: SpawnedRelay, node: string): Promise<number> {
  const { nodes } = await (await request(`${relay.adminUrl}/admin/v1/upstreams`)).body.json() as { nodes: { url: string, connections: { connected: number, free: number } }[] }
  const found = nodes.find(({ url }) => url === node)?.connections
  return (found?.connected ?? 0) - (found?.free ?? 0)
}

for (const how of ['RST', 'FIN'] as const) {
  test(`${OBJECTS} objects that drip, their viewers gone after 2 s by ${how}: every other miss of the only node is served, and its health is known`, { timeout: 120_000 }, async t => {
    const node = await spawnSuperNode(t, 'NA-WEST', DRIP)
    const relay = await spawnRelay(t, [node], { transport: { engine: 'off' }, upstream: { connections_per_node: CONNECTIONS, health_interval_ms: 200, ...PATIENT_UPSTREAM } })
    const viewers = await Promise.all(Array.from({ length: OBJECTS }, async (_, n) => await viewerOf(t, relay, `drip${n}`)))
    await until(async () => await heldConnections(relay, node.url), held => held === CONNECTIONS)
    await delay(GONE_AFTER_MS)
    for (const socket of viewers) {
      if (how === 'RST') socket.resetAndDestroy()
      else socket.destroy()
    }
    const misses = await missesFor(WATCHED_MS, relay, 'other')
    const slowest = Math.max(...misses.map(({ ms }) => ms))
    t.diagnostic(`${JSON.stringify(count(misses))}, slowest ${Math.round(slowest)} ms`)
    assert.deepEqual(Object.keys(count(misses)), ['200'])
    assert.ok(slowest < 3_000, `${slowest} ms`)
    assert.equal(await metric(relay.adminUrl, 'icn_relay_health_check_failures_total', `{node="${new URL(node.url).host}"}`), 0)
    assert.deepEqual(relay.events.filter(({ level, msg }) => level !== 'info' && /health checks/.test(String(msg))), [])
  })
}

test(`${OBJECTS} objects of one node drip while their viewers wait and after they have gone: every other miss is served in time by the sound node, which is not blamed`, { timeout: 120_000 }, async t => {
  const dripping = await spawnSuperNode(t, 'NA-WEST', DRIP)
  const sound = await spawnSuperNode(t, 'EU-WEST', { latencyMs: 20 })
  const relay = await spawnRelay(t, [dripping, sound], { transport: { engine: 'off' }, region: { override: 'NA-WEST' }, upstream: { connections_per_node: CONNECTIONS, health_interval_ms: 200, first_byte_timeout_ms: 3_000 } })
  const viewers = await Promise.all(Array.from({ length: OBJECTS }, async (_, n) => await viewerOf(t, relay, `drip${n}`)))
  await until(async () => await heldConnections(relay, dripping.url), held => held === CONNECTIONS)
  const before = await missesFor(GONE_AFTER_MS, relay, 'before')
  for (const socket of viewers) socket.resetAndDestroy()
  const after = await missesFor(WATCHED_MS, relay, 'after')
  t.diagnostic(`${JSON.stringify(count(before))} before, ${JSON.stringify(count(after))} after, slowest ${Math.round(Math.max(...[...before, ...after].map(({ ms }) => ms)))} ms`)
  assert.deepEqual([...new Set([...before, ...after].map(({ status }) => status))], [200])
  const host = new URL(sound.url).host
  assert.deepEqual(relay.events.filter(({ level, node, msg }) => level !== 'info' && node === host && String(msg).startsWith('super-node')), [])
  for (const { url } of [dripping, sound]) assert.equal(await metric(relay.adminUrl, 'icn_relay_health_check_failures_total', `{node="${new URL(url).host}"}`), 0)
})
