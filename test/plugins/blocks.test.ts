import assert from 'node:assert/strict'
import { suite, test, type TestContext } from 'node:test'
import { request } from 'undici'
import { DEMO_PUBLIC_KEY } from '../../demo/super-node/manifest.ts'
import { startSuperNode, syntheticShard, type SuperNode } from '../../demo/super-node/server.ts'
import { sha256 } from '../../tools/harness/http.ts'
import { startRelay, type RunningRelay } from '../../tools/harness/relay.ts'
import { until } from '../support/cache.ts'

const SIZE = 2_000_000
const CID = `syn-${SIZE}-blocks`
const PATH = `/shards/${CID}/shard_3.bin`
const BODY = syntheticShard(CID, 3)
/** Every answer of the super-node stops here, and its connection stays open. */
const STALL = 300_000

interface Setup { readonly relay: RunningRelay, readonly node: SuperNode }

async function setup (t: TestContext, settings: Record<string, Record<string, unknown>> = {}): Promise<Setup> {
  const node = await startSuperNode({ port: 0 })
  t.after(async () => { await node.close() })
  const relay = await startRelay(t, [{ url: node.url, region: 'NA-WEST' }], {
    ...settings,
    cache: { integrity: 'manifest' },
    trust: { publishers: [DEMO_PUBLIC_KEY], manifest_timeout_ms: 60_000 },
    admin: { loopback_without_token: true }
  })
  return { relay, node }
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
})
