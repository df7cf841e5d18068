import assert from 'node:assert/strict'
import { test } from 'node:test'
import { request } from 'undici'
import { startSuperNode } from '../../demo/super-node/server.ts'
import { cacheStats, fetchHashed, metric, until } from '../../tools/harness/http.ts'
import { startRelay } from '../../tools/harness/relay.ts'

const SIZE = 100_000
const GB = 1_000_000_000

interface Curve {
  readonly bytes: number
  readonly requests: number
  readonly hitRatio: number | null
  readonly points: readonly { readonly bytes: number, readonly hitRatio: number, readonly byteHitRatio: number }[]
  readonly sizing: { readonly enabled: boolean, readonly last: { readonly from: number, readonly to: number, readonly reason: string } | null }
}

test('the curve is of what viewers ask for, and the bound comes into its own ones, is told, and gives way to others on the disk', async t => {
  const origin = await startSuperNode({ port: 0 })
  t.after(async () => { await origin.close() })
  const { relay, viewerUrl, adminUrl } = await startRelay(t, [{ url: origin.url, region: origin.region }], {
    admin: { loopback_without_token: true },
    cache: { max_bytes: 4 * GB },
    sizing: { enabled: true, min_bytes: GB, max_bytes: 2 * GB, keep_free_bytes: 0 }
  })
  const curve = async (): Promise<Curve> => await (await request(`${adminUrl}/admin/v1/cache/curve`)).body.json() as Curve
  const ask = async (part: number): Promise<void> => { await fetchHashed(`${viewerUrl}/shards/syn-${SIZE}-curve/shard_${part}.bin`) }
  await ask(0)
  await ask(1)
  await until(async () => (await cacheStats(adminUrl)).disk.entries, entries => entries === 2)
  await ask(0)
  await ask(0)
  const { bytes, requests, hitRatio, points, sizing } = await curve()
  assert.deepEqual([bytes, requests, hitRatio, sizing], [4 * GB, 4, 0.5, { enabled: true, minBytes: GB, maxBytes: 2 * GB, last: null }])
  assert.equal(points.length, 11)
  for (const { hitRatio: estimate, byteHitRatio } of points) assert.deepEqual([estimate, byteHitRatio], [0.5, 0.5])
  const estimates = async (): Promise<number> => (await (await request(`${adminUrl}/metrics`)).body.text()).match(/^icn_relay_cache_estimated_byte_hit_ratio\{/gm)?.length ?? 0
  assert.equal(await estimates(), 0, 'of four requests')
  for (let n = 0; n < 10_000; n++) relay.admin.sizing.requested(`syn-${SIZE}-curve/0`, SIZE)
  assert.equal(await estimates(), 11)

  await until(async () => { relay.admin.sizing.look(); return (await curve()).sizing.last }, last => last !== null)
  const after = await curve()
  assert.deepEqual([after.bytes, after.sizing.last?.from, after.sizing.last?.to, after.sizing.last?.reason], [2 * GB, 4 * GB, 2 * GB, 'bounds'])
  assert.equal(await metric(adminUrl, 'icn_relay_cache_resizes_total', '{reason="bounds"}'), 1)
})

test('without `sizing.enabled` nothing is moved', async t => {
  const { relay, adminUrl } = await startRelay(t, [{ url: 'http://127.0.0.1:9', region: 'APAC' }], { admin: { loopback_without_token: true }, cache: { max_bytes: 4 * GB }, sizing: { min_bytes: GB, max_bytes: 2 * GB } })
  await relay.admin.shardCache.reconciled
  relay.admin.sizing.look()
  const { sizing, hitRatio } = await (await request(`${adminUrl}/admin/v1/cache/curve`)).body.json() as Curve
  assert.deepEqual([relay.admin.shardCache.disk.configuredBytes, sizing.enabled, sizing.last, hitRatio], [4 * GB, false, null, null])
})
