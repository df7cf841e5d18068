import assert from 'node:assert/strict'
import test from 'node:test'
import { Agent, request } from 'undici'
import { startSuperNode, syntheticShard } from '../../demo/super-node/server.ts'
import { cacheStats, fetchHashed, inParallel, sha256 } from '../../tools/harness/http.ts'
import { PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { spawnRelay } from '../../tools/harness/processes.ts'

const SIZE = 4_096
const COUNT = 1_000

test('1,000 shards survive SIGTERM: all hits, no upstream request, and the next eviction takes the oldest', { timeout: 240_000 }, async t => {
  const origin = await startSuperNode({ port: 0 })
  t.after(async () => { await origin.close() })
  const agent = new Agent({ connections: 16 })
  t.after(async () => { await agent.destroy() })
  const cidOf = (item: number): string => `syn-${SIZE}-restart${item}`
  const urlOf = (base: string, item: number): string => `${base}/shards/${cidOf(item)}/shard_0.bin`
  const items = Array.from({ length: COUNT }, (_, item) => item)
  const first = await spawnRelay(t, [origin], { upstream: PATIENT_UPSTREAM })
  await inParallel(items, 16, async item => await fetchHashed(urlOf(first.viewerUrl, item), {}, agent))
  // Reading 7 and 3 again, in that order, leaves 0 as the oldest; 1, 2, 4 follow.
  for (const item of items) if (item !== 7 && item !== 3) await fetchHashed(urlOf(first.viewerUrl, item), {}, agent)
  for (const item of [7, 3]) await fetchHashed(urlOf(first.viewerUrl, item), {}, agent)
  first.child.kill('SIGTERM')
  assert.deepEqual(await first.exit, { code: 0, signal: null })
  assert.equal(origin.stats().requests, COUNT)

  const second = await spawnRelay(t, [origin], { upstream: { ...PATIENT_UPSTREAM, max_object_bytes: SIZE } }, first.cachePath)
  assert.equal((await cacheStats(second.adminUrl)).disk.entries, COUNT)
  // Room for all but three: the three least recently used must go, and only they.
  const resized = await request(`${second.adminUrl}/admin/v1/cache`, {
    method: 'PATCH',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ maxBytes: (COUNT - 3) * SIZE })
  })
  assert.equal(resized.statusCode, 200)
  await resized.body.dump()
  const kept = await inParallel(items, 16, async item => {
    const response = await request(`${second.adminUrl}/admin/v1/cache/shards/${cidOf(item)}/0`, { dispatcher: agent })
    await response.body.dump()
    return response.statusCode === 200
  })
  assert.deepEqual(items.filter(item => kept[item] !== true), [0, 1, 2])
  const bodies = await inParallel(items.slice(3), 16, async item => await fetchHashed(urlOf(second.viewerUrl, item), {}, agent))
  for (const [position, body] of bodies.entries()) {
    assert.equal(body.headers['cache-status'], 'icn-relay; hit')
    assert.equal(body.sha256, sha256(syntheticShard(cidOf(position + 3), 0)))
  }
  assert.equal(origin.stats().requests, COUNT, 'no request reached the super-node after the restart')
})

test('1,000 shards of one run are 1,000 hits in the next, all super-nodes gone', { timeout: 240_000 }, async t => {
  const origin = await startSuperNode({ port: 0 })
  const agent = new Agent({ connections: 16 })
  t.after(async () => { await agent.destroy() })
  const urlOf = (base: string, item: number): string => `${base}/shards/syn-${SIZE}-gone${item}/shard_1.bin`
  const items = Array.from({ length: COUNT }, (_, item) => item)
  const first = await spawnRelay(t, [origin], { upstream: PATIENT_UPSTREAM })
  const stored = await inParallel(items, 16, async item => await fetchHashed(urlOf(first.viewerUrl, item), {}, agent))
  first.child.kill('SIGTERM')
  assert.equal((await first.exit).code, 0)
  await origin.close()
  const second = await spawnRelay(t, [origin], { upstream: PATIENT_UPSTREAM }, first.cachePath)
  const bodies = await inParallel(items, 16, async item => await fetchHashed(urlOf(second.viewerUrl, item), {}, agent))
  assert.deepEqual(bodies.map(body => body.sha256), stored.map(body => body.sha256))
  assert.equal(bodies.filter(body => body.headers['cache-status'] === 'icn-relay; hit').length, COUNT)
})
