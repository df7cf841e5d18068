import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { request } from 'undici'
import { connect } from '../../client/src/node.ts'
import { DEMO_PUBLIC_KEY } from '../../demo/super-node/manifest.ts'
import { startSuperNode, syntheticShard, type SuperNode } from '../../demo/super-node/server.ts'
import { metric, sha256 } from '../../tools/harness/http.ts'
import { startRelay, type RunningRelay } from '../../tools/harness/relay.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'
import { until } from '../support/cache.ts'

const SIZE = 2_000_000
const CID = `syn-${SIZE}-blocks`
const PATH = `/shards/${CID}/shard_3.bin`
const BODY = syntheticShard(CID, 3)
const OTHER = syntheticShard(CID, 4)
/** Every answer of the super-node stops here, and its connection stays open. */
const STALL = 300_000
const BLOCK = 131_072
/** So patient that whoever waits for a time-out waits longer than a test. */
const PATIENT = { headers_timeout_ms: 600_000, body_timeout_ms: 600_000, first_byte_timeout_ms: 4_000, hedge_max_ms: 250 }

interface Setup { readonly relay: RunningRelay, readonly node: SuperNode }

type Settings = Record<string, Record<string, unknown>>

async function relayOf (t: TestContext, node: SuperNode, settings: Settings, others: readonly { url: string, region: string }[] = []): Promise<RunningRelay> {
  return await startRelay(t, [{ url: node.url, region: 'NA-WEST' }, ...others], {
    ...settings,
    cache: { integrity: 'manifest', ...settings['cache'] },
    trust: { publishers: [DEMO_PUBLIC_KEY], manifest_timeout_ms: 60_000 },
    region: { override: 'NA-WEST' },
    admin: { loopback_without_token: true }
  })
}

async function setup (t: TestContext, settings: Settings = {}, others: readonly { url: string, region: string }[] = []): Promise<Setup> {
  const node = await startSuperNode({ port: 0 })
  t.after(async () => { await node.close() })
  return { relay: await relayOf(t, node, settings, others), node }
}

async function part ({ relay }: Setup, start: number, end: number): Promise<Buffer> {
  const { statusCode, headers, body } = await request(relay.viewerUrl + PATH, { headers: { range: `bytes=${start}-${end - 1}` } })
  const bytes = Buffer.from(await body.arrayBuffer())
  assert.equal(statusCode, 206)
  assert.equal(headers['content-range'], `bytes ${start}-${end - 1}/${SIZE}`)
  assert.match(String(headers['repr-digest']), /^sha-256=:/)
  return bytes
}

suite('a shard whose blocks are known', { concurrency: false }, () => {
  test('a range ends when its blocks are here, wherever it lies, and the rest is brought in from there on', async t => {
    const lab = await setup(t)
    lab.node.setFaults({ match: 'shard_', stallAtBytes: STALL })
    for (const [start, end] of [[0, 100_000], [1_000_000, 1_100_000], [1_999_000, 2_000_000], [10, 20]] as const) {
      assert.deepEqual(await part(lab, start, end), BODY.subarray(start, end))
    }
    assert.equal(lab.relay.relay.admin.shards.fills, 1)
    lab.node.setFaults({})
    const { body } = await request(lab.relay.viewerUrl + PATH)
    assert.equal(sha256(Buffer.from(await body.arrayBuffer())), sha256(BODY))
    await until(() => lab.relay.relay.admin.shards.fills === 0)
    const hit = await request(lab.relay.viewerUrl + PATH)
    assert.equal(hit.headers['cache-status'], 'icn-relay; hit')
    assert.equal(sha256(Buffer.from(await hit.body.arrayBuffer())), sha256(BODY))
  })

  test('what came of a shard that was given up is kept over a restart, and only the rest is fetched', async t => {
    const path = await temporaryDirectory(t)
    const lab = await setup(t, { cache: { path } })
    lab.node.setFaults({ match: 'shard_', stallAtBytes: STALL })
    assert.deepEqual(await part(lab, 0, 100_000), BODY.subarray(0, 100_000))
    assert.deepEqual(await part(lab, 1_000_000, 1_100_000), BODY.subarray(1_000_000, 1_100_000))
    await lab.relay.relay.close()
    assert.equal((await readdir(join(path, 'shards/partial'))).length, 2)

    lab.node.setFaults({})
    const next = { ...lab, relay: await relayOf(t, lab.node, { cache: { path } }) }
    assert.equal(await metric(next.relay.adminUrl, 'icn_relay_cache_partial_objects'), 1)
    const before = lab.node.stats().bytesSent
    // Its manifest makes what is on the disk worth something again.
    await part(next, 0, 10)
    const { body } = await request(next.relay.viewerUrl + PATH)
    assert.equal(sha256(Buffer.from(await body.arrayBuffer())), sha256(BODY))
    await until(() => next.relay.relay.admin.shards.fills === 0)
    const fetched = lab.node.stats().bytesSent - before
    assert.ok(fetched < SIZE - 2 * 131_072, `${fetched} bytes were fetched, those that were there too`)
    assert.equal(await metric(next.relay.adminUrl, 'icn_relay_cache_partial_objects'), 0)
    assert.deepEqual(await readdir(join(path, 'shards/partial')), [])
    const hit = await request(next.relay.viewerUrl + PATH)
    assert.equal(hit.headers['cache-status'], 'icn-relay; hit')
    assert.equal(sha256(Buffer.from(await hit.body.arrayBuffer())), sha256(BODY))
  })

  test('over WebTransport as over HTTP, the gateway reading the file with its holes', async t => {
    const lab = await setup(t, { transport: { engine: 'quinn' } })
    const client = await connect(lab.relay.viewerUrl, { transports: ['webtransport'], connectTimeoutMs: 60_000, stallMs: 60_000 })
    t.after(() => { client.close() })
    const manifest = await client.fetchManifest(CID)
    // Where blocks begin, what is in the first.
    await client.fetchShard(CID, 3, { range: { start: 0, end: 10 } })
    lab.node.setFaults({ match: 'shard_', stallAtBytes: STALL })
    for (const [start, end] of [[0, 100_000], [1_000_000, 1_100_000], [1_999_000, 2_000_000]] as const) {
      const { bytes, status, verified } = await client.fetchShard(CID, 4, { range: { start, end }, manifest })
      assert.deepEqual([status, verified], [206, true])
      assert.deepEqual(Buffer.from(bytes), OTHER.subarray(start, end))
    }
    assert.equal(lab.relay.relay.admin.shards.fills, 1)
    lab.node.setFaults({})
    assert.equal(sha256((await client.fetchShard(CID, 4)).bytes), sha256(OTHER))
  })

  test('a range of a shard that is gone everywhere is rebuilt from the same blocks of its siblings, and of those no more is fetched', async t => {
    const lab = await setup(t, { transport: { engine: 'quinn' } })
    lab.node.setFaults({ match: 'shard_03.bin', notFound: true })
    await request(`${lab.relay.viewerUrl}/shards/${CID}/manifest.json`).then(async ({ body }) => { await body.dump() })
    const before = lab.node.stats().bytesSent
    assert.deepEqual(await part(lab, 1_000_000, 1_100_000), BODY.subarray(1_000_000, 1_100_000))
    await until(() => lab.relay.relay.admin.shards.fills === 0)
    const fetched = lab.node.stats().bytesSent - before
    // Two blocks of ten siblings, or of eleven: one is spare.
    assert.ok(fetched >= 10 * 2 * BLOCK && fetched <= 11 * 2 * BLOCK, `${fetched} bytes were fetched`)
    assert.equal(await metric(lab.relay.adminUrl, 'icn_relay_repairs_total', '{outcome="repaired"}'), 1)
    assert.equal(await metric(lab.relay.adminUrl, 'icn_relay_repair_bytes_total'), 2 * BLOCK)
    // What is kept of it serves whoever comes back, and the rest comes when somebody wants it, in the gateway too.
    assert.deepEqual(await part(lab, 1_000_010, 1_000_020), BODY.subarray(1_000_010, 1_000_020))
    assert.equal(lab.node.stats().bytesSent - before, fetched)
    const client = await connect(lab.relay.viewerUrl, { transports: ['webtransport'], connectTimeoutMs: 60_000, stallMs: 60_000 })
    t.after(() => { client.close() })
    assert.deepEqual(Buffer.from((await client.fetchShard(CID, 3, { range: { start: 100, end: 140_000 } })).bytes), BODY.subarray(100, 140_000))
    assert.equal(sha256((await client.fetchShard(CID, 3)).bytes), sha256(BODY))
    await until(() => lab.relay.relay.admin.shards.fills === 0)
    assert.equal((await request(lab.relay.viewerUrl + PATH, { method: 'HEAD' })).headers['cache-status'], 'icn-relay; hit')
  })

  test('after a restart, with every super-node gone, the manifest in the cache is believed, and ten cached siblings restore a shard', async t => {
    const path = await temporaryDirectory(t)
    const lab = await setup(t, { cache: { path } })
    const get = async ({ relay }: Setup, name: string): Promise<{ status: number, digest: string }> => {
      const { statusCode, body } = await request(`${relay.viewerUrl}/shards/${CID}/${name}`)
      return { status: statusCode, digest: sha256(Buffer.from(await body.arrayBuffer())) }
    }
    // Nobody but the relay has asked for the manifest.
    for (const name of Array.from({ length: 10 }, (_, index) => `shard_${index + 4}.bin`)) assert.equal((await get(lab, name)).status, 200)
    await until(() => lab.relay.relay.admin.shards.fills === 0)
    await lab.relay.relay.close()
    await lab.node.close()
    const next = { ...lab, relay: await relayOf(t, lab.node, { cache: { path } }) }
    assert.deepEqual(await get(next, 'shard_3.bin'), { status: 200, digest: sha256(BODY) })
  })

  test('a super-node that stalls in the middle of a part costs its readers a moment and not the time-out of bodies', async t => {
    const other = await startSuperNode({ port: 0 })
    t.after(async () => { await other.close() })
    const lab = await setup(t, { upstream: PATIENT }, [{ url: other.url, region: 'EU-WEST' }])
    lab.node.setFaults({ match: 'shard_', stallAtBytes: STALL })
    assert.deepEqual(await part(lab, 100, 1_900_000), BODY.subarray(100, 1_900_000))
    assert.ok(await metric(lab.relay.adminUrl, 'icn_relay_upstream_hedges_total', '{outcome="won"}') > 0)
  })

  test('a client that has the manifest verifies parts, and names the block that a server sends wrong, whose digest says that it is right', async t => {
    const lab = await setup(t)
    const range = { start: 1_000_000, end: 1_100_000 }
    const [client, direct] = [await connect(lab.relay.viewerUrl, { transports: ['http'] }), await connect(lab.node.url)]
    t.after(() => { for (const each of [client, direct]) each.close() })
    const manifest = await client.fetchManifest(CID)
    for (const each of [client, direct]) {
      const { bytes, status, verified } = await each.fetchShard(CID, 3, { range, manifest })
      assert.deepEqual([status, verified], [206, true])
      assert.deepEqual(Buffer.from(bytes), BODY.subarray(range.start, range.end))
    }
    lab.node.setFaults({ match: 'shard_', corrupt: true })
    await assert.rejects(direct.fetchShard(CID, 4, { range, manifest }), { name: 'ShardClientError', fault: 'digest', message: /^block [78] of shard 4 does not match its hash in the manifest$/ })
    assert.equal((await direct.fetchShard(CID, 4, { range })).verified, false, 'without it nobody knows')
  })

  test('a node that sends a wrong block is blamed, and nobody sees the block', async t => {
    const liar = await startSuperNode({ port: 0 })
    t.after(async () => { await liar.close() })
    const lab = await setup(t, {}, [{ url: liar.url, region: 'EU-WEST' }])
    lab.node.setFaults({ match: 'shard_', corrupt: true })
    await part(lab, 0, 10).catch(() => {})
    const { body } = await request(`${lab.relay.viewerUrl}/shards/${CID}/shard_4.bin`)
    assert.equal(sha256(Buffer.from(await body.arrayBuffer())), sha256(OTHER))
    const { offenders } = await (await request(`${lab.relay.adminUrl}/admin/v1/integrity`)).body.json() as { offenders: { node: string }[] }
    assert.deepEqual(offenders.map(({ node }) => node), [new URL(lab.node.url).host])
  })
})
