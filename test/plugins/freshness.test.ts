import assert from 'node:assert/strict'
import { suite, test, type TestContext } from 'node:test'
import { request } from 'undici'
import type { ShardKey } from '../../src/protocol/shard-key.ts'
import { metric } from '../../tools/harness/http.ts'
import { startManifestOrigin, type ManifestOrigin } from '../../tools/harness/manifest-origin.ts'
import { makePublisher, manifestBody, manifestText, signedBody, videoShards } from '../../tools/harness/manifests.ts'
import { startRelay, type RunningRelay } from '../../tools/harness/relay.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'
import { until } from '../support/cache.ts'
import { PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { rawOrigin, response } from '../support/raw-origin.ts'
import { assertProblem } from '../support/problem.ts'

const SIZE = 5_000
const PUBLISHER = makePublisher()
const HOUR = 3_600_000
/** Stale after an hour, expired after another, and served for a third when nobody answers. */
const RULE = { ttl_ms: HOUR, stale_while_revalidate_ms: HOUR, stale_if_error_ms: 2 * HOUR }
const CONTROL = 'public, max-age=3600, stale-while-revalidate=3600, stale-if-error=7200'

interface Answer { readonly status: number, readonly headers: Record<string, string | string[] | undefined>, readonly body: Buffer }

interface Lab extends RunningRelay {
  readonly origin: ManifestOrigin
  /** By CID the label of the shards that the origin has now. */
  readonly videos: Map<string, string>
  get (cid: string, part?: ShardKey['part'], headers?: Record<string, string>): Promise<Answer>
  /** Makes a cached object older. */
  age (ms: number, cid: string, part?: ShardKey['part']): void
  /** As if what is known of manifests were as old as what is cached of them. */
  forgetManifests (): void
  /** As if nothing were known or cached of them. */
  dropManifests (): void
  /** Its manifest is believed before the first object is asked for: until then answers say that nothing vouches for it. */
  publish (cid: string): Promise<void>
  calm (): Promise<void>
}

async function setUp (t: TestContext, ttl: readonly unknown[], settings: Record<string, Record<string, unknown>> = {}): Promise<Lab> {
  const videos: Lab['videos'] = new Map()
  const origin = await startManifestOrigin({
    region: 'NA-WEST',
    object: ({ cid, part }) => {
      const label = videos.get(cid)
      if (label === undefined) return undefined
      const shards = videoShards(cid, SIZE, label)
      return part === 'manifest' ? manifestText(signedBody({ ...manifestBody(cid, shards), tags: ['news'] }, PUBLISHER)) : shards[part]
    }
  })
  t.after(async () => { await origin.close().catch(() => {}) })
  const running = await startRelay(t, [{ url: origin.url, region: origin.region }], { ...settings, admin: { loopback_without_token: true, requests_per_minute: 100_000 }, cache: { integrity: 'manifest', ttl, ...settings['cache'] }, trust: { publishers: [PUBLISHER.key], manifest_timeout_ms: 60_000 }, region: { override: 'NA-WEST' }, upstream: { negative_ttl_ms: 1 } })
  const { shardCache, integrity, shards } = running.relay.admin
  return {
    ...running,
    origin,
    videos,
    get: async (cid, part = 0, headers = {}) => {
      const { statusCode, headers: fields, body } = await request(`${running.viewerUrl}/shards/${cid}/${part === 'manifest' ? 'manifest.json' : `shard_${part}.bin`}`, { headers })
      return { status: statusCode, headers: fields, body: Buffer.from(await body.arrayBuffer()) }
    },
    age: (ms, cid, part = 0) => {
      const entry = shardCache.disk.peek(`${cid}/${part}`)
      assert.ok(entry !== undefined)
      entry.storedAt -= ms
    },
    forgetManifests: () => { integrity.checks?.forget(() => true) },
    dropManifests: () => {
      integrity.checks?.forget(() => true)
      for (const cid of videos.keys()) shardCache.purges.one(`${cid}/manifest`)
    },
    publish: async cid => {
      videos.set(cid, '')
      await integrity.checks?.expects({ cid, part: 0 }, [])
    },
    calm: async () => { await until(() => shards.fills === 0) }
  }
}

const status = ({ headers }: Answer): string => String(headers['cache-status'])
const asked = ({ origin }: Lab, since: number): ShardKey['part'][] => origin.asked.slice(since).map(({ part }) => part)

async function admin (lab: Lab, method: 'GET' | 'POST' | 'PATCH', path: string): Promise<Record<string, unknown>> {
  const { body } = await request(`${lab.adminUrl}/admin/v1${path}`, { method, ...method === 'GET' ? {} : { headers: { 'content-type': 'application/json' }, body: '{}' } })
  return await body.json() as Record<string, unknown>
}

suite('an object with a lifetime', () => {
  test('is fresh, then stale while it is compared with a manifest that is asked for anew, then asked for first; also after a restart', async t => {
    const path = await temporaryDirectory(t)
    const lab = await setUp(t, [RULE], { cache: { path } })
    await lab.publish('Qm')
    const miss = await lab.get('Qm')
    assert.deepEqual([status(miss), miss.headers['cache-control'], miss.headers['age']], ['icn-relay; fwd=uri-miss', CONTROL, undefined])
    await lab.calm()
    lab.age(HOUR - 100_000, 'Qm')
    const fresh = await lab.get('Qm')
    assert.match(status(fresh), /^icn-relay; hit; ttl=\d{1,3}$/)
    assert.equal(fresh.headers['cache-control'], CONTROL)
    assert.ok(Number(fresh.headers['age']) >= 3_500)

    lab.age(100_000, 'Qm')
    lab.dropManifests()
    let before = lab.origin.asked.length
    const { storedAt } = await admin(lab, 'GET', '/cache/shards/Qm/0')
    const stale = await lab.get('Qm')
    assert.match(status(stale), /^icn-relay; hit; ttl=-\d+$/)
    assert.deepEqual([stale.status, stale.headers['cache-control']], [200, CONTROL])
    await until(() => lab.relay.admin.shardCache.disk.peek('Qm/0')?.storedAt !== storedAt)
    assert.deepEqual(asked(lab, before), ['manifest'], 'the same, so nothing of the shard was fetched')
    assert.match(status(await lab.get('Qm')), /^icn-relay; hit; ttl=\d+$/)
    assert.equal(await metric(lab.adminUrl, 'icn_relay_cache_stale_hits_total'), 1)
    lab.age(2 * HOUR, 'Qm')
    await lab.relay.admin.shardCache.flush()
    lab.relay.admin.shardCache.disk.index.stored('Qm/0', lab.relay.admin.shardCache.disk.peek('Qm/0') ?? assert.fail())
    lab.dropManifests()
    await lab.relay.close()

    const again = await setUp(t, [RULE], { cache: { path } })
    again.videos.set('Qm', '')
    before = again.origin.asked.length
    const same = await again.get('Qm')
    assert.match(status(same), /^icn-relay; fwd=stale; ttl=\d+$/)
    assert.deepEqual(asked(again, before), ['manifest'])
    assert.deepEqual(same.body, videoShards('Qm', SIZE)[0])
    assert.ok(Number(same.headers['age']) < 60)

    // Published anew under the same CID.
    again.videos.set('Qm', ' new')
    again.age(2 * HOUR, 'Qm')
    again.dropManifests()
    before = again.origin.asked.length
    const fetched = await Promise.all([again.get('Qm'), again.get('Qm'), again.get('Qm')])
    for (const one of fetched) {
      assert.match(status(one), /^icn-relay; fwd=stale(; collapsed)?$/)
      assert.deepEqual(one.body, videoShards('Qm', SIZE, ' new')[0])
    }
    assert.deepEqual(asked(again, before).toSorted(), [0, 'manifest'])
    await again.calm()
    assert.match(status(await again.get('Qm')), /^icn-relay; hit; ttl=\d+$/)
    assert.equal(await metric(again.adminUrl, 'icn_relay_cache_expired_requests_total', '{outcome="same"}'), 1)
    assert.equal(await metric(again.adminUrl, 'icn_relay_cache_expired_requests_total', '{outcome="fetched"}'), 3)
    assert.deepEqual((await admin(again, 'GET', '/integrity'))['evidence'], [], 'nobody is blamed for a new version')
  })

  test('whose time is over and that nobody can be asked for is served within stale_if_error_ms; then 502 with a code; never to who wants it from the cache only', async t => {
    const lab = await setUp(t, [RULE])
    lab.videos.set('Qm', '')
    await lab.get('Qm')
    await lab.calm()
    await lab.origin.close()
    lab.age(2 * HOUR, 'Qm')
    assertProblem(await lab.get('Qm', 0, { 'cache-control': 'only-if-cached' }), 'RELAY_ERR_NOT_CACHED')
    lab.dropManifests()
    const first = await lab.get('Qm')
    assert.match(status(first), /^icn-relay; fwd=stale; ttl=-\d+; detail=RELAY_ERR_UPSTREAM_\w+$/)
    assert.deepEqual([first.status, first.headers['cache-control'], first.body], [200, CONTROL, videoShards('Qm', SIZE)[0]])
    // Who comes a moment later does not wait for another failure.
    assert.match(status(await lab.get('Qm')), /^icn-relay; (hit|fwd=stale); ttl=-\d+/)
    // A relay may pass it on, and not keep it.
    assert.equal((await lab.get('Qm', 0, { via: '1.1 icn-relay-other' })).headers['cache-control'], 'no-store')
    lab.age(HOUR, 'Qm')
    const refused = await lab.get('Qm')
    assert.ok([502, 504].includes(refused.status))
    assert.match(String(refused.headers['content-type']), /problem\+json/)
    assert.match((JSON.parse(String(refused.body)) as { code: string }).code, /^RELAY_ERR_UPSTREAM_/)
    assert.equal(await metric(lab.adminUrl, 'icn_relay_cache_expired_requests_total', '{outcome="failed"}'), 1)
  })

  test('that no super-node has any more goes', async t => {
    const lab = await setUp(t, [RULE])
    lab.videos.set('Qm', '')
    await lab.get('Qm')
    await lab.calm()
    lab.dropManifests()
    lab.videos.delete('Qm')
    lab.age(2 * HOUR, 'Qm')
    assertProblem(await lab.get('Qm'), 'RELAY_ERR_SHARD_NOT_FOUND')
    assert.equal(lab.relay.admin.shardCache.disk.peek('Qm/0'), undefined)
  })
})

test('what came with an age is that much older, for who asks first and for who asks later', async t => {
  const body = Buffer.from('aged')
  const node = await rawOrigin(t, ({ socket }) => { socket.write(response(body, ['age: 50'])) })
  const { viewerUrl, relay } = await startRelay(t, [{ url: node.url, region: node.region }], { cache: { ttl: [{ ttl_ms: '1h' }] }, upstream: PATIENT_UPSTREAM })
  const get = async (): Promise<Record<string, unknown>> => {
    const answer = await request(`${viewerUrl}/shards/Qm/shard_0.bin`)
    await answer.body.dump()
    await until(() => relay.admin.shards.fills === 0)
    return answer.headers
  }
  const miss = await get()
  assert.deepEqual([miss['cache-status'], miss['cache-control'], miss['age']], ['icn-relay; fwd=uri-miss', 'public, max-age=3600', '50'])
  const hit = await get()
  assert.ok(Number(hit['age']) >= 50 && Number(hit['age']) < 1_000)
  assert.match(String(hit['cache-status']), /^icn-relay; hit; ttl=3[45]\d\d$/)
})

suite('manifests', () => {
  test('are stale after an hour by default, and shards never; a new version is fetched and blames nobody', async t => {
    const lab = await setUp(t, [], { cache: { ttl: undefined } })
    await lab.publish('Qm')
    await lab.get('Qm', 'manifest')
    await lab.calm()
    const before = await lab.get('Qm', 'manifest')
    assert.equal(before.headers['cache-control'], 'public, max-age=3600, stale-while-revalidate=86400, stale-if-error=604800')
    assert.equal((await lab.get('Qm')).headers['cache-control'], 'public, max-age=31536000, immutable')
    await lab.calm()
    lab.videos.set('Qm', ' new')
    lab.age(HOUR, 'Qm', 'manifest')
    lab.forgetManifests()
    assert.deepEqual((await lab.get('Qm', 'manifest')).body, before.body)
    await until(() => lab.relay.admin.shards.fills === 0 && lab.relay.admin.shardCache.disk.peek('Qm/manifest')?.hits === 0)
    const after = await lab.get('Qm', 'manifest')
    assert.deepEqual(after.body, Buffer.from(manifestText(signedBody({ ...manifestBody('Qm', videoShards('Qm', SIZE, ' new')), tags: ['news'] }, PUBLISHER))))
    assert.match(status(after), /^icn-relay; hit; ttl=\d+$/)
    assert.equal(status(await lab.get('Qm')), 'icn-relay; hit')
    assert.equal(await metric(lab.adminUrl, 'icn_relay_revalidations_total', '{outcome="replaced"}'), 1)
    assert.deepEqual((await admin(lab, 'GET', '/integrity'))['evidence'], [])
  })
})

suite('rules', () => {
  test('by tag and prefix are in force with a reload, for what is cached too; what they ask for is seen by operators', async t => {
    const lab = await setUp(t, [])
    for (const cid of ['Qm', 'live-a']) {
      lab.videos.set(cid, '')
      assert.equal((await lab.get(cid)).status, 200)
    }
    await lab.calm()
    assert.equal((await lab.get('Qm')).headers['cache-control'], 'public, max-age=31536000, immutable')
    assert.equal((await admin(lab, 'GET', '/cache/shards/Qm/0'))['freshUntil'], null)
    lab.rewrite({ admin: { loopback_without_token: true, requests_per_minute: 100_000 }, cache: { integrity: 'manifest', ttl: [{ cid_prefix: 'live-', ttl_ms: 2_000 }, { tag: 'news', ttl_ms: '1h' }] }, trust: { publishers: [PUBLISHER.key], manifest_timeout_ms: 60_000 }, region: { override: 'NA-WEST' }, upstream: { negative_ttl_ms: 1 } })
    await admin(lab, 'POST', '/config/reload')
    assert.equal((await lab.get('Qm')).headers['cache-control'], 'public, max-age=3600')
    assert.equal((await lab.get('live-a')).headers['cache-control'], 'public, max-age=2')
    const { storedAt, freshUntil } = await admin(lab, 'GET', '/cache/shards/Qm/0')
    assert.equal(Number(freshUntil) - Number(storedAt), HOUR)
  })
})
