import assert from 'node:assert/strict'
import test from 'node:test'
import { Agent } from 'undici'
import { startSuperNode, syntheticShard } from '../../demo/super-node/server.ts'
import { fetchHashed, sha256 } from '../../tools/harness/http.ts'
import { PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { residentBytes } from '../../tools/harness/proc.ts'
import { spawnRelay } from '../../tools/harness/processes.ts'

const SIZE = 8 * 1024 * 1024

test('100 viewers of one cold 8 MB shard cost one upstream fetch and far less than 100 bodies of memory', async t => {
  const origin = await startSuperNode({ port: 0, faults: { bytesPerSecond: 16_000_000 } })
  t.after(async () => { await origin.close() })
  const relay = await spawnRelay(t, [origin], { upstream: PATIENT_UPSTREAM })
  const agent = new Agent({ connections: 100 })
  t.after(async () => { await agent.destroy() })
  const cid = `syn-${SIZE}-herd`
  const url = `${relay.viewerUrl}/shards/${cid}/shard_3.bin`
  const before = await residentBytes(relay.pid)
  let peak = before
  const sampler = setInterval(() => {
    void residentBytes(relay.pid).then(bytes => { peak = Math.max(peak, bytes) })
  }, 25)
  t.after(() => { clearInterval(sampler) })
  const bodies = await Promise.all(Array.from({ length: 100 }, async () => await fetchHashed(url, {}, agent)))
  clearInterval(sampler)
  const expected = sha256(syntheticShard(cid, 3))
  for (const body of bodies) {
    assert.equal(body.status, 200)
    assert.equal(body.bytes, SIZE)
    assert.equal(body.sha256, expected)
  }
  assert.equal(origin.stats().requests, 1)
  const growth = peak - before
  t.diagnostic(`RSS before ${Math.round(before / 1e6)} MB, peak ${Math.round(peak / 1e6)} MB, growth ${Math.round(growth / 1e6)} MB for 100 bodies of ${SIZE / 1e6} MB`)
  assert.ok(growth < 40 * SIZE, `grew by ${growth} bytes`)
})
