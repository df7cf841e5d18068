import assert from 'node:assert/strict'
import test from 'node:test'
import { request } from 'undici'
import { syntheticShard } from '../../demo/super-node/server.ts'
import { freePort } from '../support/ci.ts'
import { fetchHashed, inParallel, sha256, until, cacheStats } from '../support/http.ts'
import { assertProblem, type AnyResponse } from '../support/problem.ts'
import { spawnProgram, spawnRelay } from '../support/processes.ts'

const SIZE = 200_000
const CID = `syn-${SIZE}-tiers`
const PATH = `/shards/${CID}/shard_3.bin`
const OFF = { transport: { engine: 'off' } }

async function ask (url: string): Promise<AnyResponse & { ms: number }> {
  const start = performance.now()
  const response = await request(url, { headersTimeout: 10_000 })
  const body = Buffer.from(await response.body.arrayBuffer())
  return { status: response.statusCode, headers: response.headers, body, ms: performance.now() - start }
}

test('a relay over a relay over a super-node: a cold shard crosses each tier once, then both hit', async t => {
  const origin = await spawnProgram(t, 'demo/super-node/main.ts', ['--port', '0'])
  const { url: originUrl } = await origin.waitFor(event => typeof event['url'] === 'string') as { url: string }
  const a = await spawnRelay(t, [{ url: originUrl, region: 'NA-WEST' }], { ...OFF, upstream: { relay_id: 'a' } })
  const b = await spawnRelay(t, [{ url: a.viewerUrl, region: 'NA-WEST' }], { ...OFF, upstream: { relay_id: 'b', headers_timeout_ms: 5_000 } })
  const expected = sha256(syntheticShard(CID, 3))
  const bodies = await inParallel(Array.from({ length: 20 }), 20, async () => await fetchHashed(b.viewerUrl + PATH))
  for (const { status, sha256: digest } of bodies) {
    assert.equal(status, 200)
    assert.equal(digest, expected)
  }
  for (const relay of [a, b]) await until(async () => await cacheStats(relay.adminUrl), ({ fills }) => fills === 0)
  const requests = a.events.filter(event => event['msg'] === 'request' && event['listener'] === 'viewer' && String(event['url']).startsWith('/shards/'))
  assert.deepEqual(requests.map(event => [event['url'], event['cache']]), [[PATH.replace('shard_3', 'shard_03'), 'icn-relay; fwd=uri-miss']], 'relay A was asked once')
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

test('two relays that ask each other answer 508 at once and say so in their logs', async t => {
  const [portA, portB] = [await freePort(), await freePort()]
  const at = (port: number): { url: string, region: string } => ({ url: `http://127.0.0.1:${port}`, region: 'NA-WEST' })
  const a = await spawnRelay(t, [at(portB)], { ...OFF, viewer: { port: portA }, upstream: { relay_id: 'a', headers_timeout_ms: 60_000 } })
  const b = await spawnRelay(t, [at(portA)], { ...OFF, viewer: { port: portB }, upstream: { relay_id: 'b', headers_timeout_ms: 60_000 } })
  // The first request pays for starting up.
  await ask(a.viewerUrl + PATH)
  const answers = await Promise.all(Array.from({ length: 5 }, async (_, n) => await ask(`${a.viewerUrl}/shards/${CID}/shard_${n}.bin`)))
  for (const answer of answers) {
    assertProblem(answer, 'RELAY_ERR_LOOP')
    assert.ok(answer.ms < 2_000, `${answer.ms} ms`)
  }
  t.diagnostic(`508 after ${Math.max(...answers.map(({ ms }) => ms)).toFixed(0)} ms at most`)
  const refusal = await a.waitFor(event => event['msg'] === 'request goes in circles, refused')
  assert.equal(refusal['via'], '1.1 icn-relay-a, 1.1 icn-relay-b')
  assert.equal(refusal['self'], 'icn-relay-a')
  const told = await b.waitFor(event => event['msg'] === 'request went in circles, asking the next')
  assert.equal(told['via'], '1.1 icn-relay-a, 1.1 icn-relay-b')
})
