import assert from 'node:assert/strict'
import test from 'node:test'
import { request } from 'undici'
import { syntheticShard } from '../../demo/super-node/server.ts'
import { freePort } from '../../tools/harness/ci.ts'
import { fetchHashed, inParallel, sha256, until, cacheStats } from '../../tools/harness/http.ts'
import { SUPER_NODE, spawnProgram, spawnRelay, type SpawnedRelay } from '../../tools/harness/processes.ts'
import { crossing } from '../support/crossing.ts'
import { assertProblem, type AnyResponse } from '../support/problem.ts'

const SIZE = 200_000
const CID = `syn-${SIZE}-tiers`
const PATH = `/shards/${CID}/shard_3.bin`
const OFF = { transport: { engine: 'off' } }

/** Nothing ends because a time is up: what ends has an answer. */
const NO_HURRY = { headers_timeout_ms: 3_600_000, first_byte_timeout_ms: 3_600_000 }

async function ask (url: string): Promise<AnyResponse & { ms: number }> {
  const start = performance.now()
  const response = await request(url, { headersTimeout: 60_000 })
  const body = Buffer.from(await response.body.arrayBuffer())
  return { status: response.statusCode, headers: response.headers, body, ms: performance.now() - start }
}

test('a relay over a relay over a super-node: a cold shard crosses each tier once, then both hit', async t => {
  const origin = spawnProgram(t, SUPER_NODE, ['--port', '0'])
  const { url: originUrl } = await origin.waitFor(event => typeof event['url'] === 'string') as { url: string }
  const a = await spawnRelay(t, [{ url: originUrl, region: 'NA-WEST' }], { ...OFF, upstream: { ...NO_HURRY, relay_id: 'a' } })
  const b = await spawnRelay(t, [{ url: a.viewerUrl, region: 'NA-WEST' }], { ...OFF, upstream: { ...NO_HURRY, relay_id: 'b' } })
  const expected = sha256(syntheticShard(CID, 3))
  const bodies = await inParallel(Array.from({ length: 20 }), 20, async () => await fetchHashed(b.viewerUrl + PATH))
  for (const { status, sha256: digest } of bodies) {
    assert.equal(status, 200)
    assert.equal(digest, expected)
  }
  for (const relay of [a, b]) await until(async () => await cacheStats(relay.adminUrl), ({ fills }) => fills === 0)
  const requests = a.events.filter(event => event['msg'] === 'request' && String(event['url']).startsWith('/shards/'))
  assert.deepEqual(requests.map(event => [event['url'], event['cache']]), [[PATH.replace('shard_3', 'shard_03'), 'fwd=uri-miss']], 'relay A was asked once')
  const stats = await (await request(`${originUrl}/_demo/stats`)).body.json() as { requests: number }
  assert.equal(stats.requests, 1, 'the super-node was asked once')
  for (const relay of [b, a]) {
    const hit = await fetchHashed(relay.viewerUrl + PATH)
    assert.equal(hit.headers['cache-status'], 'icn-relay; hit')
    assert.equal(hit.sha256, expected)
  }
  const manifest = await ask(`${b.viewerUrl}/shards/${CID}/manifest.json`)
  assert.equal(manifest.status, 200)
})

test('two relays that ask each other answer 508 immediately and say so in their logs', async t => {
  const [portA, portB] = [await freePort(), await freePort()]
  const at = (port: number): { url: string, region: string } => ({ url: `http://127.0.0.1:${port}`, region: 'NA-WEST' })
  const a = await spawnRelay(t, [at(portB)], { ...OFF, viewer: { port: portA }, upstream: { ...NO_HURRY, relay_id: 'a' } })
  const b = await spawnRelay(t, [at(portA)], { ...OFF, viewer: { port: portB }, upstream: { ...NO_HURRY, relay_id: 'b' } })
  // The first request pays for starting up.
  await ask(a.viewerUrl + PATH)
  const answers = await Promise.all(Array.from({ length: 5 }, async (_, n) => await ask(`${a.viewerUrl}/shards/${CID}/shard_${n}.bin`)))
  for (const answer of answers) assertProblem(answer, 'RELAY_ERR_LOOP')
  t.diagnostic(`508 after ${Math.max(...answers.map(({ ms }) => ms)).toFixed(0)} ms at most`)
  const refusal = await a.waitFor(event => event['msg'] === 'request goes in circles, refused')
  assert.equal(refusal['via'], '1.1 icn-relay-a, 1.1 icn-relay-b')
  assert.equal(refusal['self'], 'icn-relay-a')
  const told = await b.waitFor(event => event['msg'] === 'request went in circles, asking the next')
  assert.equal(told['via'], '1.1 icn-relay-a, 1.1 icn-relay-b')
})

/** Two relays that have each other as super-nodes, and each asks the other before it hears of the other's question. */
async function spawnPair (t: Parameters<typeof crossing>[0], role: object, further: readonly object[] = []): Promise<[SpawnedRelay, SpawnedRelay]> {
  const [portA, portB] = [await freePort(), await freePort()]
  const [toA, toB] = await crossing(t, [portA, portB])
  const relay = async (port: number, id: string, other: string): Promise<SpawnedRelay> => await spawnRelay(t, [], {
    ...OFF,
    viewer: { port },
    region: { override: 'NA-WEST' },
    upstream: { ...NO_HURRY, relay_id: id, super_nodes: [{ url: other, region: 'NA-WEST', ...role }, ...further] }
  })
  return await Promise.all([relay(portA, 'a', toB), relay(portB, 'b', toA)])
}

for (const [named, role] of [['named as relays', { role: 'relay' }], ['named as origins', {}]] as const) {
  test(`two relays ${named} and no super-node, each waiting for the other with a viewer of its own: 508 for both, not a timeout`, { timeout: 240_000 }, async t => {
    const pair = await spawnPair(t, role)
    for (let n = 0; n < 3; n++) {
      const answers = await Promise.all(pair.map(async ({ viewerUrl }) => await ask(`${viewerUrl}/shards/${CID}/shard_${n}.bin`)))
      for (const answer of answers) assertProblem(answer, 'RELAY_ERR_LOOP')
      t.diagnostic(`508 after ${answers.map(({ ms }) => ms.toFixed(0)).join(' and ')} ms`)
      const told = await Promise.any(pair.map(async relay => await relay.waitFor(event => event['msg'] === 'request would wait for itself in a circle of relays' && String(event['path']).endsWith(`shard_0${n}.bin`))))
      assert.match(String(told['via']), /^1\.1 icn-relay-(?:a, 1\.1 icn-relay-b|b, 1\.1 icn-relay-a)$/)
    }
  })
}

test('two relays that wait for each other while a super-node has the object: both viewers get it', { timeout: 240_000 }, async t => {
  const origin = spawnProgram(t, SUPER_NODE, ['--port', '0', '--region', 'APAC'])
  const { url } = await origin.waitFor(event => typeof event['url'] === 'string')
  const pair = await spawnPair(t, { role: 'relay' }, [{ url, region: 'APAC' }])
  for (let n = 0; n < 5; n++) {
    const bodies = await Promise.all(pair.map(async ({ viewerUrl }) => await fetchHashed(`${viewerUrl}/shards/${CID}/shard_${n}.bin`)))
    for (const { status, sha256: digest } of bodies) assert.deepEqual([status, digest], [200, sha256(syntheticShard(CID, n))])
  }
})
