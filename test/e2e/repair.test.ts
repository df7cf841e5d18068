import assert from 'node:assert/strict'
import { suite, test, type TestContext } from 'node:test'
import { connect } from '../../client/src/node.ts'
import { DEMO_PUBLIC_KEY } from '../../demo/super-node/manifest.ts'
import { syntheticManifest } from '../../demo/super-node/synthetic.ts'
import type { Faults } from '../../demo/super-node/faults.ts'
import { cacheStats, fetchHashed, metric, sha256, until } from '../../tools/harness/http.ts'
import { PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { SERVER, runToEnd, spawnRelay, spawnSuperNode, type SpawnedNode, type SpawnedRelay } from '../../tools/harness/processes.ts'

/** Three rows of a repair, the last of them short. */
const SHARD_BYTES = 600_000
/** Times a viewer asks for a shard: each lie of two super-nodes may cost one. */
const TRIES = 4

async function setUp (t: TestContext, faults: Faults): Promise<{ nodes: SpawnedNode[], relay: SpawnedRelay }> {
  const nodes = await Promise.all(['NA-WEST', 'EU-WEST'].map(async region => await spawnSuperNode(t, region, faults)))
  const relay = await spawnRelay(t, nodes, {
    cache: { integrity: 'manifest' },
    trust: { publishers: [DEMO_PUBLIC_KEY] },
    upstream: { ...PATIENT_UPSTREAM, negative_ttl_ms: 0 },
    transport: { engine: 'quinn' }
  })
  return { nodes, relay }
}

/** Asks until a body ends well. @returns its SHA-256 and how many did not */
async function whole (get: () => Promise<string>): Promise<{ digest: string, broken: number }> {
  for (let broken = 0; ; broken++) {
    try {
      return { digest: await get(), broken }
    } catch (error) {
      if (broken === TRIES) throw error
    }
  }
}

suite('repair', { concurrency: false }, () => {
  test('every super-node corrupts shard 3: over HTTP and over WebTransport no wrong body ends well, and every viewer gets the right one', { timeout: 240_000 }, async t => {
    const { relay } = await setUp(t, { match: 'shard_03.bin|shard_3.bin', corrupt: true })
    const client = await connect(relay.viewerUrl, { transports: ['webtransport'], connectTimeoutMs: 60_000 })
    t.after(() => { client.close() })
    const [first, second] = [`syn-${SHARD_BYTES}-http`, `syn-${SHARD_BYTES}-session`]
    const right = async (cid: string): Promise<string | undefined> => (await syntheticManifest(cid)).shards[3]?.sha256
    const overHttp = await whole(async () => {
      const got = await fetchHashed(`${relay.viewerUrl}/shards/${first}/shard_3.bin`)
      assert.equal(got.status, 200)
      assert.match(String(got.headers['cache-status']), /^icn-relay; (hit|fwd=uri-miss)/)
      return got.sha256
    })
    const overSession = await whole(async () => {
      const { bytes, transport } = await client.fetchShard(second, 3)
      assert.equal(transport, 'webtransport')
      return sha256(bytes)
    })
    assert.equal(overHttp.digest, await right(first))
    assert.equal(overSession.digest, await right(second))
    assert.ok(await metric(relay.adminUrl, 'icn_relay_repairs_total', '{outcome="repaired"}') >= 2)
    // Blocks that came right before the wrong one are not rebuilt.
    const rebuilt = await metric(relay.adminUrl, 'icn_relay_repair_bytes_total')
    assert.ok(rebuilt > 0 && rebuilt <= 2 * SHARD_BYTES, `${rebuilt} bytes`)
    const event = await relay.waitFor(({ msg, key }) => msg === 'shard rebuilt from its siblings' && key === `${second}/3`)
    assert.equal((event['siblings'] as number[]).length, 10)
    t.diagnostic(`broken bodies before the right one: ${overHttp.broken} over HTTP, ${overSession.broken} over WebTransport`)
  })

  test('a shard that is gone everywhere: the first viewer gets it, says where it came from, and the next hits', { timeout: 240_000 }, async t => {
    const { relay } = await setUp(t, { match: 'shard_12.bin', notFound: true })
    const cid = `syn-${SHARD_BYTES}-gone`
    const url = `${relay.viewerUrl}/shards/${cid}/shard_12.bin`
    const digest = (await syntheticManifest(cid)).shards[12]?.sha256
    const missed = await fetchHashed(url)
    assert.deepEqual([missed.status, missed.sha256, missed.headers['cache-status']], [200, digest, 'icn-relay; fwd=uri-miss'])
    assert.match(String(missed.headers['server-timing']), /upstream;desc="repair"/)
    await until(async () => (await cacheStats(relay.adminUrl)).fills, fills => fills === 0)
    const hit = await fetchHashed(url)
    assert.deepEqual([hit.status, hit.sha256, hit.headers['cache-status']], [200, digest, 'icn-relay; hit'])
  })

  test('ten of fourteen are there and four are gone everywhere: icn-relay repair restores all, and then no super-node is needed', { timeout: 240_000 }, async t => {
    const { nodes, relay } = await setUp(t, { match: 'shard_00.bin|shard_05.bin|shard_10.bin|shard_13.bin', notFound: true })
    const cid = `syn-${SHARD_BYTES}-job`
    const { code, stdout, stderr } = await runToEnd(SERVER, ['repair', cid, '--admin', relay.adminUrl, '--config', relay.configFile])
    assert.deepEqual([code, stderr], [0, ''], stdout)
    const fates = stdout.trimEnd().split('\n')
    assert.equal(fates.pop(), `${cid}: done`)
    assert.equal(fates.length, 14)
    // Siblings that a repair brought in are there when their turn comes.
    for (const [part, line] of fates.entries()) assert.match(line, new RegExp(`^shard ${part}: ${[0, 5, 10, 13].includes(part) ? 'repaired' : '(fetched|present)'} \\(\\d+ of 14\\)$`))
    const { jobs } = await (await fetch(`${relay.adminUrl}/admin/v1/jobs`)).json() as { jobs: { state: string, cid: string }[] }
    assert.deepEqual(jobs.map(job => [job.state, job.cid]), [['done', cid]])
    await Promise.all(nodes.map(async node => { await node.setFaults({ status: 500 }) }))
    for (const { index, sha256: digest } of (await syntheticManifest(cid)).shards) {
      const got = await fetchHashed(`${relay.viewerUrl}/shards/${cid}/shard_${index}.bin`)
      assert.deepEqual([got.status, got.sha256, got.headers['cache-status']], [200, digest, 'icn-relay; hit'])
    }
  })

  test('with five gone the job fails and says which; a CID that is none, and a relay that is not there, are one line', { timeout: 240_000 }, async t => {
    const { relay } = await setUp(t, { match: 'shard_00.bin|shard_01.bin|shard_02.bin|shard_03.bin|shard_04.bin', notFound: true })
    const run = async (...args: string[]): Promise<readonly [number, string, string]> => {
      const { code, stdout, stderr } = await runToEnd(SERVER, ['repair', ...args, '--config', relay.configFile])
      return [code, stdout.trimEnd().split('\n').at(-1) ?? '', stderr]
    }
    const cid = 'syn-1000-lost'
    assert.deepEqual(await run(cid, '--admin', relay.adminUrl), [1, `${cid}: failed: without shards 0 (lost), 1 (lost), 2 (lost), 3 (lost), 4 (lost)`, ''])
    assert.deepEqual(await run('QmNobody', '--admin', relay.adminUrl), [1, 'QmNobody: failed: no manifest of the CID is believed', ''])
    assert.deepEqual(await run(cid, '--admin', 'http://127.0.0.1:1'), [3, '', 'icn-relay: RELAY_ERR_CONFIG: repair: no relay answers at http://127.0.0.1:1\n'])
  })
})
