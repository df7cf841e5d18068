import assert from 'node:assert/strict'
import { suite, test, type TestContext } from 'node:test'
import { request } from 'undici'
import { connect } from '../../client/src/node.ts'
import { startSuperNode, syntheticShard, type SuperNode } from '../../demo/super-node/server.ts'
import { metric, sha256, until } from '../../tools/harness/http.ts'
import { startManifestOrigin } from '../../tools/harness/manifest-origin.ts'
import { makePublisher, manifestBody, manifestText, signedBody, videoShards } from '../../tools/harness/manifests.ts'
import { startRelay, type RunningRelay } from '../../tools/harness/relay.ts'
import { until as soon } from '../support/cache.ts'

const SIZE = 20_000
const TOKEN = 'correct-horse-battery'

type Settings = Record<string, Record<string, unknown>>

interface Lab extends RunningRelay {
  readonly node: SuperNode
}

async function lab (t: TestContext, settings: Settings = {}): Promise<Lab> {
  const node = await startSuperNode({ port: 0 })
  t.after(async () => { await node.close() })
  const running = await startRelay(t, [{ url: node.url, region: node.region }], { admin: { loopback_without_token: true, requests_per_minute: 100_000 }, ...settings, prefetch: { enabled: true, ...settings['prefetch'] } })
  return { node, ...running }
}

async function get (url: string, headers: Record<string, string> = {}): Promise<{ readonly status: number, readonly cache: string, readonly bytes: Buffer }> {
  const { statusCode, headers: answer, body } = await request(url, { headers })
  return { status: statusCode, cache: String(answer['cache-status']), bytes: Buffer.from(await body.arrayBuffer()) }
}

const pathOf = (cid: string, part: number): string => `/shards/${cid}/shard_${part}.bin`

/** How often the super-node was asked for each shard of a video, by number. */
function askedFor ({ node }: Lab, cid: string): number[] {
  const { byPath } = node.stats()
  return Array.from({ length: 14 }, (_, part) => byPath[`/shards/${cid}/shard_${String(part).padStart(2, '0')}.bin`] ?? 0)
}

const cached = ({ relay }: RunningRelay, cid: string): number[] => Array.from({ length: 14 }, (_, part) => part).filter(part => relay.admin.shardCache.has({ cid, part }))

/** Nothing is under way, and nothing waits. */
async function quiet ({ adminUrl, relay }: RunningRelay): Promise<void> {
  await soon(() => relay.admin.shards.fills === 0)
  await until(async () => await metric(adminUrl, 'icn_relay_prefetch_waiting') + await metric(adminUrl, 'icn_relay_prefetch_running'), left => left === 0)
}

suite('prefetching', { concurrency: false, timeout: 120_000 }, () => {
  test('a viewer who plays a video finds its second half in the cache, nothing is fetched twice, and parity is left alone', async t => {
    const relay = await lab(t)
    const cid = `syn-${SIZE}-play`
    const hits: boolean[] = []
    for (let part = 0; part < 10; part++) {
      const { status, cache, bytes } = await get(relay.viewerUrl + pathOf(cid, part))
      assert.equal(status, 200)
      assert.equal(sha256(bytes), sha256(syntheticShard(cid, part)))
      hits.push(cache === 'icn-relay; hit')
      await quiet(relay)
    }
    assert.deepEqual(hits.slice(5), [true, true, true, true, true])
    assert.equal(hits[0], false)
    assert.deepEqual(askedFor(relay, cid), [...Array.from({ length: 10 }, () => 1), 0, 0, 0, 0])
    const source = '{source="order"}'
    assert.equal(await metric(relay.adminUrl, 'icn_relay_prefetch_bytes_total', source), 9 * SIZE)
    assert.equal(await metric(relay.adminUrl, 'icn_relay_prefetch_used_bytes_total', source), 9 * SIZE)
    assert.equal(await metric(relay.adminUrl, 'icn_relay_prefetch_unused_bytes'), 0)
    // Eight were used: one more is brought in ahead from now on.
    assert.equal(await metric(relay.adminUrl, 'icn_relay_prefetch_depth', source), 3)
  })
  test('two viewers of one video make one chain', async t => {
    const relay = await lab(t)
    const cid = `syn-${SIZE}-both`
    const play = async (): Promise<void> => { for (let part = 0; part < 10; part++) assert.equal((await get(relay.viewerUrl + pathOf(cid, part))).status, 200) }
    await Promise.all([play(), play()])
    await quiet(relay)
    assert.deepEqual(askedFor(relay, cid), [...Array.from({ length: 10 }, () => 1), 0, 0, 0, 0])
  })

  test('overload ends it, and it begins again afterwards; what was purged unused was wasted', async t => {
    const relay = await lab(t)
    const { adminUrl, viewerUrl, node } = relay
    const force = async (override: string): Promise<void> => {
      const { statusCode, body } = await request(`${adminUrl}/admin/v1/overload`, { method: 'PUT', body: JSON.stringify({ override }), headers: { 'content-type': 'application/json' } })
      await body.dump()
      assert.equal(statusCode, 200)
    }
    const cid = `syn-${SIZE}-load`
    node.setFaults({ match: 'shard_01|shard_02', stallAtBytes: 1_000 })
    await get(viewerUrl + pathOf(cid, 0))
    await until(async () => await metric(adminUrl, 'icn_relay_prefetch_running'), running => running === 2)
    await soon(() => relay.relay.admin.shards.unwantedFills === 2)
    await force('degraded')
    await quiet(relay)
    await get(viewerUrl + pathOf(cid, 4))
    await quiet(relay)
    assert.deepEqual(cached(relay, cid), [0, 4])
    node.setFaults({})
    await force('normal')
    await get(viewerUrl + pathOf(cid, 4))
    await soon(() => cached(relay, cid).length === 4)
    assert.deepEqual(cached(relay, cid), [0, 4, 5, 6])
    await get(viewerUrl + pathOf(cid, 5))
    await quiet(relay)
    relay.relay.admin.shardCache.purgeCid(cid)
    const source = '{source="order"}'
    const brought = await metric(adminUrl, 'icn_relay_prefetch_bytes_total', source)
    assert.equal(await metric(adminUrl, 'icn_relay_prefetch_used_bytes_total', source), SIZE)
    assert.equal(await metric(adminUrl, 'icn_relay_prefetch_wasted_bytes_total', source), brought - SIZE)
    assert.ok(brought >= 3 * SIZE)
    assert.equal(await metric(adminUrl, 'icn_relay_prefetch_unused_bytes'), 0)
  })

  test('concurrency and budget hold', async t => {
    const cid = `syn-${SIZE}-bounds`
    const narrow = await lab(t, { prefetch: { concurrency: 1 } })
    narrow.node.setFaults({ match: 'shard_01', stallAtBytes: 1_000 })
    await get(narrow.viewerUrl + pathOf(cid, 0))
    await until(async () => await metric(narrow.adminUrl, 'icn_relay_prefetch_running'), running => running === 1)
    // A bit a second: the first object leaves a debt of hours.
    const poor = await lab(t, { prefetch: { max_bps: 1 } })
    await get(poor.viewerUrl + pathOf(cid, 0))
    await soon(() => cached(poor, cid).length === 2)
    for (const relay of [narrow, poor]) {
      await get(relay.viewerUrl + pathOf(cid, 0))
      assert.equal(await metric(relay.adminUrl, 'icn_relay_prefetch_waiting'), 1)
      assert.equal(askedFor(relay, cid)[2], 0)
    }
  })

  test('what viewers used lately does not go for it', async t => {
    const relay = await lab(t, { cache: { max_bytes: 3 * SIZE, eviction: 'lru' }, upstream: { max_object_bytes: SIZE } })
    const [old, now] = [`syn-${SIZE}-old`, `syn-${SIZE}-now`]
    for (const part of [7, 8, 9]) await get(relay.viewerUrl + pathOf(old, part))
    await quiet(relay)
    await get(relay.viewerUrl + pathOf(now, 0))
    await until(async () => await metric(relay.adminUrl, 'icn_relay_prefetch_skipped_total', '{reason="room"}'), skipped => skipped > 0)
    await soon(() => cached(relay, now).length > 0)
    assert.deepEqual([cached(relay, old), cached(relay, now)], [[8, 9], [0]])
  })

  test('behind the last shard the video comes that the signed manifest names', async t => {
    const publisher = makePublisher()
    const [cid, next] = ['episode-1', 'episode-2']
    const node = await startManifestOrigin({
      region: 'NA-WEST',
      object: ({ cid: of, part }) => {
        const shards = videoShards(of, SIZE)
        return part === 'manifest' ? manifestText(signedBody({ ...manifestBody(of, shards), ...of === cid ? { next: [next] } : {} }, publisher)) : shards[part]
      }
    })
    t.after(async () => { await node.close() })
    const relay = await startRelay(t, [{ url: node.url, region: node.region }], { prefetch: { enabled: true }, cache: { integrity: 'manifest' }, trust: { publishers: [publisher.key] } })
    await get(relay.viewerUrl + pathOf(cid, 8))
    const { shardCache } = relay.relay.admin
    await soon(() => shardCache.has({ cid, part: 9 }))
    await get(relay.viewerUrl + pathOf(cid, 9))
    await soon(() => shardCache.has({ cid: next, part: 'manifest' }) && shardCache.has({ cid: next, part: 0 }))
    assert.deepEqual(cached(relay, next), [0])
  })

  test('a viewer may say what it asks for next, over HTTP and over a session, as far as its token opens it', async t => {
    const mine = `syn-${SIZE}-mine`
    const relay = await lab(t, { auth: { require: true, tokens: [{ token: TOKEN, cid_prefixes: [mine] }] }, transport: { engine: 'quinn' } })
    const next = [{ cid: mine, part: 7 }, { cid: `syn-${SIZE}-other`, part: 0 }]
    await get(relay.viewerUrl + pathOf(mine, 0), { authorization: `Bearer ${TOKEN}`, 'icn-prefetch': next.map(({ cid, part }) => `"${cid}/${part}"`).join(', ') })
    await soon(() => cached(relay, mine).includes(7))
    const client = await connect(relay.viewerUrl, { token: TOKEN, transports: ['webtransport'], stallMs: 60_000, connectTimeoutMs: 60_000 })
    t.after(() => { client.close() })
    const { transport } = await client.fetchShard(mine, 0, { next: [{ cid: mine, part: 12 }, ...next] })
    assert.equal(transport, 'webtransport')
    await soon(() => cached(relay, mine).includes(12))
    assert.deepEqual(cached(relay, mine), [0, 7, 12])
    assert.deepEqual(cached(relay, `syn-${SIZE}-other`), [])
    assert.equal(askedFor(relay, `syn-${SIZE}-other`)[0], 0)
  })
})
