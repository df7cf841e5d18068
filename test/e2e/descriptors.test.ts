import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import { Client, request } from 'undici'
import { syntheticShard } from '../../demo/super-node/server.ts'
import { fetchHashed, metric, sha256, until } from '../../tools/harness/http.ts'
import { PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { spawnRelay, spawnSuperNode, type SpawnedRelay } from '../../tools/harness/processes.ts'

const DESCRIPTORS = 512
const VIEWERS = 600
const SIZE = 20_000
const HOT = 12
/** One viewer of so many asks for an object of its own. */
const COLD_EACH = 6

const cid = (name: string): string => `syn-${SIZE}-${name}`
const path = (name: string): string => `/shards/${cid(name)}/shard_0.bin`

interface Ready {
  readonly ready: boolean
  readonly checks: { readonly overload: string, readonly upstream: string }
}

async function ready (relay: SpawnedRelay): Promise<Ready> {
  return await (await request(`${relay.adminUrl}/ready`)).body.json() as Ready
}

/** What a viewer was answered: a status, a code of the relay beside 503, or that its connection was reset. */
async function ask (viewer: Client, name: string): Promise<string> {
  try {
    const { statusCode, body } = await viewer.request({ method: 'GET', path: path(name) })
    const bytes = Buffer.from(await body.arrayBuffer())
    if (statusCode === 200) return sha256(bytes) === sha256(syntheticShard(cid(name), 0)) ? '200' : 'wrong bytes'
    return `${statusCode} ${(JSON.parse(bytes.toString()) as { code: string }).code}`
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
}

function viewersOf (t: TestContext, relay: SpawnedRelay): Client[] {
  const viewers = Array.from({ length: VIEWERS }, (_, n) => new Client(relay.viewerUrl, { localAddress: `127.0.0.${2 + n % 4}`, headersTimeout: 60_000, bodyTimeout: 60_000 }))
  t.after(async () => { await Promise.all(viewers.map(async viewer => { await viewer.destroy() })) })
  return viewers
}

test(`a relay of ${DESCRIPTORS} descriptors and ${VIEWERS} viewers of four addresses: hits go on, the lack is told and no super-node is blamed for it`, { timeout: 240_000 }, async t => {
  const node = await spawnSuperNode(t, 'NA-WEST', { match: 'cold', latencyMs: 300 })
  const relay = await spawnRelay(t, [node], {
    cache: { ram_bytes: 0 },
    transport: { engine: 'off' },
    region: { interval_ms: 1_000 },
    overload: { sample_ms: 50, leave_degraded_ms: 500, leave_shedding_ms: 500 },
    upstream: { ...PATIENT_UPSTREAM, health_interval_ms: 200 }
  }, undefined, { descriptors: DESCRIPTORS })
  // A slow disk may refuse to store, and what is not stored is not hot.
  for (let n = 0; n < HOT; n++) await until(async () => (await fetchHashed(`${relay.viewerUrl}${path(`hot${n}`)}`)).headers['cache-status'], status => status === 'icn-relay; hit')

  const viewers = viewersOf(t, relay)
  const first = await Promise.all(viewers.map(async (viewer, n) => await ask(viewer, n % COLD_EACH === 0 ? `cold${n}` : `hot${n % HOT}`)))
  const connected = viewers.filter((_, n) => first[n] === '200')
  const answers = new Map<string, number>()
  for (const answer of first) answers.set(answer, (answers.get(answer) ?? 0) + 1)
  t.diagnostic(JSON.stringify(Object.fromEntries(answers)))
  const later: string[][] = []
  for (let round = 0; round < 5; round++) {
    const others = viewers.filter(viewer => !connected.includes(viewer)).map(async (viewer, n) => await ask(viewer, `cold${round}-${n}`))
    later.push(await Promise.all(connected.map(async (viewer, n) => await ask(viewer, `hot${n % HOT}`))))
    await Promise.all(others)
  }
  // Those who were let in are still here.
  const signal = await metric(relay.adminUrl, 'icn_relay_overload_signal', '{signal="descriptors"}')
  const changes = relay.events.filter(({ msg, signal: of }) => msg === 'overload state changed' && of === 'descriptors')
  t.diagnostic(`signal ${signal}, ${changes.length} changes of state by it, ${connected.length} connected`)

  assert.deepEqual([relay.child.exitCode, relay.child.signalCode], [null, null])
  assert.ok([...answers.keys()].every(answer => ['200', '503 RELAY_ERR_LOCAL_LACK', '503 RELAY_ERR_OVERLOADED', 'ECONNRESET', 'UND_ERR_SOCKET'].includes(answer)), [...answers.keys()].join())
  assert.ok(connected.length > 200, `${connected.length} connected`)
  assert.deepEqual([...new Set(later.flat())], ['200'])
  const blamed = relay.events.filter(({ level, msg }) => level !== 'info' && /super-node|region/.test(String(msg)))
  assert.deepEqual(blamed, [])
  assert.ok(!relay.events.some(event => JSON.stringify(event).includes('EMFILE')), JSON.stringify(relay.events.find(event => JSON.stringify(event).includes('EMFILE'))))
  assert.ok(signal > 0.5, `signal ${signal}`)
  assert.ok(changes.length > 0)

  await Promise.all(viewers.map(async viewer => { await viewer.destroy() }))
  await until(async () => await ready(relay), ({ ready: yes, checks }) => yes && checks.overload === 'normal' && checks.upstream === 'ok')
  const after = await Promise.all(Array.from({ length: 100 }, async (_, n) => (await fetchHashed(`${relay.viewerUrl}${path(n % 2 === 0 ? `after${n}` : `hot${n % HOT}`)}`)).status))
  assert.deepEqual([...new Set(after)], [200])
  assert.equal(await metric(relay.adminUrl, 'icn_relay_upstream_health_check_failures_total', `{node="${new URL(node.url).host}"}`), 0)
})
