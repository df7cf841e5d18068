import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { suite, test, type TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { request } from 'undici'
import { syntheticShard } from '../../demo/super-node/server.ts'
import { metric, sha256, until } from '../../tools/harness/http.ts'
import { NEVER_OVERLOADED, PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { spawnRelay, spawnSuperNode, type SpawnedNode, type SpawnedRelay } from '../../tools/harness/processes.ts'
import { head } from '../support/raw-http.ts'

/** The numbers of the case: more objects than there are connections to a node, each a byte a second, given up after two seconds. */
const OBJECTS = 70
const CONNECTIONS = 64
const GONE_AFTER_MS = 2_000
/** Longer than the 5 s of silence after which a body is given up by itself; misses in need of a connection that a drip has would wait for it meanwhile. */
const WATCHED_MS = 6_000
/** Health checks that are to be answered behind all that. */
const CHECKS = 3
/** A machine with other work is no reason to blame a super-node. */
const PATIENCE = { ...PATIENT_UPSTREAM, health_timeout_ms: 60_000 }
/** Whoever is late by that has another one asked beside it, however often: with a smaller budget it would have half of the deadline. By default a tenth of a second is late, which a sound super-node may be that gets no processor. */
const HEDGING = { hedge_min_ms: 500, hedge_max_ms: 500, hedge_budget_percent: 100 }
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

/** Checks of a super-node's health come through, however many of its connections are taken. */
async function assertChecked (relay: SpawnedRelay, node: SpawnedNode): Promise<void> {
  const checks = async (): Promise<number> => (await node.stats()).byPath['/health'] ?? 0
  const before = await checks()
  await until(checks, count => count >= before + CHECKS)
  assert.equal(await metric(relay.adminUrl, 'icn_relay_health_check_failures_total', `{node="${new URL(node.url).host}"}`), 0)
}

// They wait most of the time.
suite('objects that drip', { concurrency: true, timeout: 240_000 }, () => {
  for (const how of ['RST', 'FIN'] as const) {
    test(`${OBJECTS} objects that drip, their viewers gone after 2 s by ${how}: every other miss of the only node is served, and its health is known`, async t => {
      const node = await spawnSuperNode(t, 'NA-WEST', DRIP)
      const relay = await spawnRelay(t, [node], { transport: { engine: 'off' }, overload: NEVER_OVERLOADED, upstream: { connections_per_node: CONNECTIONS, health_interval_ms: 200, ...PATIENCE } })
      const viewers = await Promise.all(Array.from({ length: OBJECTS }, async (_, n) => await viewerOf(t, relay, `drip${n}`)))
      await until(async () => await heldConnections(relay, node.url), held => held === CONNECTIONS)
      await assertChecked(relay, node)
      await delay(GONE_AFTER_MS)
      for (const socket of viewers) {
        if (how === 'RST') socket.resetAndDestroy()
        else socket.destroy()
      }
      const misses = await missesFor(WATCHED_MS, relay, 'other')
      t.diagnostic(`${JSON.stringify(count(misses))}, slowest ${Math.round(Math.max(...misses.map(({ ms }) => ms)))} ms`)
      assert.deepEqual(Object.keys(count(misses)), ['200'])
      await assertChecked(relay, node)
      assert.deepEqual(relay.events.filter(({ level, msg }) => level !== 'info' && /health checks/.test(String(msg))), [])
    })
  }

  test(`${OBJECTS} objects of one node drip while their viewers wait and after they have gone: every other miss is served by the sound node, which is not blamed`, async t => {
    const dripping = await spawnSuperNode(t, 'NA-WEST', DRIP)
    const sound = await spawnSuperNode(t, 'EU-WEST', { latencyMs: 20 })
    const relay = await spawnRelay(t, [dripping, sound], { transport: { engine: 'off' }, overload: NEVER_OVERLOADED, region: { override: 'NA-WEST' }, upstream: { connections_per_node: CONNECTIONS, health_interval_ms: 200, ...PATIENCE, ...HEDGING } })
    const viewers = await Promise.all(Array.from({ length: OBJECTS }, async (_, n) => await viewerOf(t, relay, `drip${n}`)))
    await until(async () => await heldConnections(relay, dripping.url), held => held === CONNECTIONS)
    const before = await missesFor(GONE_AFTER_MS, relay, 'before')
    for (const socket of viewers) socket.resetAndDestroy()
    const after = await missesFor(WATCHED_MS, relay, 'after')
    t.diagnostic(`${JSON.stringify(count(before))} before, ${JSON.stringify(count(after))} after, slowest ${Math.round(Math.max(...[...before, ...after].map(({ ms }) => ms)))} ms`)
    assert.deepEqual([...new Set([...before, ...after].map(({ status }) => status))], [200])
    const host = new URL(sound.url).host
    assert.deepEqual(relay.events.filter(({ level, node, msg }) => level !== 'info' && node === host && String(msg).startsWith('super-node')), [])
    for (const node of [dripping, sound]) await assertChecked(relay, node)
  })
})
