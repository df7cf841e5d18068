import assert from 'node:assert/strict'
import { suite, test, type TestContext } from 'node:test'
import { request } from 'undici'
import { startSuperNode, syntheticShard, type SuperNode } from '../../demo/super-node/server.ts'
import { connect } from '../../client/src/node.ts'
import { cacheStats, fetchHashed, metric, sha256, until } from '../../tools/harness/http.ts'
import { PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { spawnRelay, type SpawnedRelay } from '../../tools/harness/processes.ts'
import { cachedFile, flipBit } from '../support/rot.ts'

const SIZE = 600_000
const cid = (name: string): string => `syn-${SIZE}-${name}`
const digest = (name: string): string => sha256(syntheticShard(cid(name), 0))
const LIMIT = { timeout: 240_000 }

interface ScrubAnswer {
  readonly status: string
  readonly coverage: number
  readonly verifiedSince: number | null
  readonly pass: { readonly startedAt: number, readonly verified: number, readonly cursor: string } | null
  readonly last: { readonly startedAt: number, readonly verified: number, readonly rotted: number } | null
}

async function originOf (t: TestContext): Promise<SuperNode> {
  const origin = await startSuperNode({ port: 0 })
  t.after(async () => { await origin.close() })
  return origin
}

async function isRight (relay: SpawnedRelay, name: string, headers: Record<string, string> = {}): Promise<boolean> {
  const got = await fetchHashed(`${relay.viewerUrl}/shards/${cid(name)}/shard_0.bin`, headers)
  return got.sha256 === digest(name)
}

/** An error status, or a body that is cut. */
async function fails (relay: SpawnedRelay, name: string, headers: Record<string, string> = {}): Promise<boolean> {
  return await fetchHashed(`${relay.viewerUrl}/shards/${cid(name)}/shard_0.bin`, headers).then(({ status }) => status >= 500, () => true)
}

const entries = (count: number) => async (relay: SpawnedRelay): Promise<void> => { await until(async () => (await cacheStats(relay.adminUrl)).disk.entries, now => now === count) }

async function scrubOf (relay: SpawnedRelay, action?: 'start' | 'pause'): Promise<ScrubAnswer> {
  const response = await request(`${relay.adminUrl}/admin/v1/scrub`, action === undefined ? {} : { method: 'POST', headers: { 'content-type': 'application/json', 'x-requested-with': 'test' }, body: JSON.stringify({ action }) })
  assert.equal(response.statusCode, 200)
  return await response.body.json() as ScrubAnswer
}

suite('a bit flipped in a cached file', () => {
  test('always, over HTTP: the body is right by a super-node or cut, whole or range; the entry goes, and the next request fetches it again', LIMIT, async t => {
    const origin = await originOf(t)
    const relay = await spawnRelay(t, [origin], { cache: { verify_reads: 'always', ram_bytes: 0 }, transport: { engine: 'off' }, upstream: PATIENT_UPSTREAM })
    for (const name of ['a', 'b', 'c']) assert.ok(await isRight(relay, name))
    // Verified as hits, and no part of the fetch any more.
    await entries(3)(relay)
    for (const name of ['a', 'b', 'c']) assert.ok(await isRight(relay, name))
    for (const name of ['a', 'b', 'c']) await flipBit(await cachedFile(relay.cachePath, cid(name)), SIZE - 1)
    // Some of it is on its way when the last block turns out bad.
    assert.ok(await isRight(relay, 'a'))
    const rot = await relay.waitFor(({ msg }) => msg === 'cached file has changed on the disk, evicted')
    assert.deepEqual([rot['object'], rot['finder'], rot['level']], [`${cid('a')}/0`, 'read', 'warn'])
    assert.equal((await cacheStats(relay.adminUrl)).disk.entries, 2)
    assert.ok(await isRight(relay, 'a'))
    await entries(3)(relay)
    assert.ok(await isRight(relay, 'a'))
    assert.equal(await metric(relay.adminUrl, 'icn_relay_cache_rot_total', '{finder="read"}'), 1)
    // Where no super-node can help, the body is cut.
    await origin.close()
    assert.ok(await fails(relay, 'b'))
    assert.ok(await fails(relay, 'c', { range: `bytes=${SIZE - 100_000}-` }))
    assert.ok(await fails(relay, 'b'))
    assert.equal(await metric(relay.adminUrl, 'icn_relay_cache_rot_total', '{finder="read"}'), 3)
  })

  test('always, over a session: the same, with the file read by the gateway', LIMIT, async t => {
    const origin = await originOf(t)
    const relay = await spawnRelay(t, [origin], { cache: { verify_reads: 'always', ram_bytes: 0 }, transport: { engine: 'quinn', ram_bytes: 0 }, upstream: PATIENT_UPSTREAM })
    const client = await connect(relay.viewerUrl, { transports: ['webtransport'], attempts: 3, connectTimeoutMs: 30_000 })
    t.after(() => { client.close() })
    const fetched = async (name: string): Promise<string> => {
      const { bytes, transport } = await client.fetchShard(cid(name), 0)
      return `${transport} ${sha256(bytes)}`
    }
    for (const name of ['s', 't']) assert.equal(await fetched(name), `webtransport ${digest(name)}`)
    await entries(2)(relay)
    for (const name of ['s', 't']) assert.equal(await fetched(name), `webtransport ${digest(name)}`)
    for (const name of ['s', 't']) await flipBit(await cachedFile(relay.cachePath, cid(name)), SIZE - 1)
    const { requests } = origin.stats()
    assert.equal(await fetched('s'), `webtransport ${digest('s')}`)
    assert.equal(await metric(relay.adminUrl, 'icn_relay_cache_rot_total', '{finder="read"}'), 1)
    assert.ok(origin.stats().requests > requests)
    assert.equal(await fetched('s'), `webtransport ${digest('s')}`)
    await entries(2)(relay)
    await origin.close()
    await assert.rejects(client.fetchShard(cid('t'), 0))
    assert.equal(await metric(relay.adminUrl, 'icn_relay_cache_rot_total', '{finder="read"}'), 2)
  })

  test('first, after a restart: the first read of the object meets it; the others are as they were', LIMIT, async t => {
    const origin = await originOf(t)
    const before = await spawnRelay(t, [origin], { transport: { engine: 'off' }, upstream: PATIENT_UPSTREAM })
    for (const name of ['f', 'g']) assert.ok(await isRight(before, name))
    await entries(2)(before)
    await flipBit(await cachedFile(before.cachePath, cid('f')), 3)
    before.child.kill('SIGTERM')
    await before.exit
    const relay = await spawnRelay(t, [origin], { transport: { engine: 'off' }, upstream: PATIENT_UPSTREAM }, before.cachePath)
    for (let time = 0; time < 2; time++) {
      assert.ok(await isRight(relay, 'f'))
      assert.ok(await isRight(relay, 'g'))
    }
    assert.deepEqual([await metric(relay.adminUrl, 'icn_relay_cache_verified_reads_total', '{outcome="rotted"}'), await metric(relay.adminUrl, 'icn_relay_cache_verified_reads_total', '{outcome="right"}')], [1, 1])
  })

  test('the scrub finds it without a reader, a restart in the middle of the pass costs nothing, and the entry is fetched again', LIMIT, async t => {
    const origin = await originOf(t)
    const names = Array.from({ length: 12 }, (_, n) => `n${String(n).padStart(2, '0')}`)
    const settings = (rate: number): Record<string, Record<string, unknown>> => ({ transport: { engine: 'off' }, upstream: PATIENT_UPSTREAM, scrub: { bytes_per_second: rate, interval_s: 86_400 } })
    // Two objects a second. It begins with an empty cache, and then has nothing to do until it is started.
    const before = await spawnRelay(t, [origin], settings(2 * SIZE))
    await until(async () => await scrubOf(before), ({ last }) => last !== null)
    for (const name of names) assert.ok(await isRight(before, name))
    await entries(12)(before)
    await flipBit(await cachedFile(before.cachePath, cid('n09')), SIZE / 2)
    await scrubOf(before, 'start')
    const half = await until(async () => await scrubOf(before), ({ pass }) => (pass?.verified ?? 0) >= 3)
    assert.equal(half.status, 'running')
    assert.ok(half.coverage > 0.2 && half.coverage < 1)
    const paused = await scrubOf(before, 'pause')
    assert.equal(paused.status, 'paused')
    before.child.kill('SIGTERM')
    await before.exit
    const relay = await spawnRelay(t, [origin], settings(1_000_000_000), before.cachePath)
    const kept = await scrubOf(relay)
    assert.deepEqual([kept.status, kept.pass?.startedAt], ['paused', half.pass?.startedAt])
    assert.ok((kept.pass?.verified ?? 0) >= 3 && (kept.pass?.verified ?? 0) < 9)
    await scrubOf(relay, 'start')
    const done = await until(async () => await scrubOf(relay), ({ pass }) => pass === null)
    assert.deepEqual([done.last?.startedAt, done.last?.verified, done.last?.rotted, done.verifiedSince], [half.pass?.startedAt, 11, 1, half.pass?.startedAt])
    assert.equal(await metric(relay.adminUrl, 'icn_relay_scrub_objects_total', '{outcome="verified"}'), 11 - (kept.pass?.verified ?? 0))
    assert.equal(await metric(relay.adminUrl, 'icn_relay_cache_rot_total', '{finder="scrub"}'), 1)
    assert.equal((await relay.waitFor(({ msg }) => msg === 'cached file has changed on the disk, evicted'))['object'], `${cid('n09')}/0`)
    assert.equal((await cacheStats(relay.adminUrl)).disk.entries, 11)
    assert.ok(await isRight(relay, 'n09'))
    await entries(12)(relay)
  })
})
