import assert from 'node:assert/strict'
import { suite, test, type TestContext } from 'node:test'
import { request } from 'undici'
import { askRunning } from '../../src/cli/ask-admin.ts'
import { purgeCache, purgeText } from '../../src/cli/commands/purge.ts'
import { checkConfig } from '../../src/config/config.ts'
import type { PurgeReport } from '../../src/plugins/purge/purger.ts'
import type { ShardKey } from '../../src/protocol/shard-key.ts'
import { metric } from '../../tools/harness/http.ts'
import { startManifestOrigin, type ManifestOrigin } from '../../tools/harness/manifest-origin.ts'
import { makePublisher, manifestBody, manifestText, signedBody, videoShards } from '../../tools/harness/manifests.ts'
import { startRelay, type RunningRelay } from '../../tools/harness/relay.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'
import { until } from '../support/cache.ts'
import { assertProblem } from '../support/problem.ts'

const SIZE = 5_000
const PUBLISHER = makePublisher()

interface Answer { readonly status: number, readonly headers: Record<string, string | string[] | undefined>, readonly body: Buffer }

interface Lab extends RunningRelay {
  readonly origin: ManifestOrigin
  /** What the origin has: by CID the label of its shards. */
  readonly videos: Map<string, { label: string, tags: string[] }>
  get (cid: string, part?: ShardKey['part']): Promise<Answer>
  admin (method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown): Promise<Answer & { readonly json: Record<string, unknown> }>
  /** Whether the first shard is stale; undefined when it is not cached. */
  staleOf (cid: string): boolean | undefined
  /** All that is under way is stored. */
  calm (): Promise<void>
}

async function setUp (t: TestContext, cache: Record<string, unknown> = {}): Promise<Lab> {
  const videos: Lab['videos'] = new Map()
  const origin = await startManifestOrigin({
    region: 'NA-WEST',
    object: ({ cid, part }) => {
      const video = videos.get(cid)
      if (video === undefined) return undefined
      const shards = videoShards(cid, SIZE, video.label)
      return part === 'manifest' ? manifestText(signedBody({ ...manifestBody(cid, shards), tags: video.tags }, PUBLISHER)) : shards[part]
    }
  })
  t.after(async () => { await origin.close() })
  const running = await startRelay(t, [{ url: origin.url, region: origin.region }], { admin: { loopback_without_token: true, requests_per_minute: 100_000 }, cache: { integrity: 'manifest', ...cache }, trust: { publishers: [PUBLISHER.key], manifest_timeout_ms: 60_000 }, region: { override: 'NA-WEST' }, upstream: { negative_ttl_ms: 1 } })
  const call = async (url: string, options: Parameters<typeof request>[1] = {}): Promise<Answer> => {
    const { statusCode, headers, body } = await request(url, options)
    return { status: statusCode, headers, body: Buffer.from(await body.arrayBuffer()) }
  }
  return {
    ...running,
    origin,
    videos,
    get: async (cid, part = 0) => await call(`${running.viewerUrl}/shards/${cid}/${part === 'manifest' ? 'manifest.json' : `shard_${part}.bin`}`),
    admin: async (method, path, body) => {
      const answer = await call(`${running.adminUrl}/admin/v1${path}`, { method, headers: { 'content-type': 'application/json' }, ...body === undefined ? {} : { body: JSON.stringify(body) } })
      return { ...answer, json: JSON.parse(String(answer.body)) as Record<string, unknown> }
    },
    staleOf: cid => {
      const details = running.relay.admin.shardCache.details({ cid, part: 0 })
      return details === undefined ? undefined : details.staleSince !== null
    },
    calm: async () => { await until(() => running.relay.admin.shards.fills === 0) }
  }
}

const status = ({ headers }: Answer): string => String(headers['cache-status'])
const MISS = 'icn-relay; fwd=uri-miss'
const HIT = 'icn-relay; hit'

suite('a purge over the admin API', () => {
  test('takes what has the prefix, or the tag of a manifest or of a warm job, and leaves the others hits; over a restart too', async t => {
    const path = await temporaryDirectory(t)
    const lab = await setUp(t, { path })
    for (const [cid, tags] of [['tv-a', ['news']], ['tv-b', []], ['Qm-a', ['news', 'old']], ['Qm-b', ['old']]] as const) {
      lab.videos.set(cid, { label: '', tags: [...tags] })
      for (const part of [0, 13, 'manifest'] as const) assert.equal((await lab.get(cid, part)).status, 200)
    }
    await lab.calm()
    assert.equal((await lab.admin('POST', '/jobs', { type: 'warm', shards: [{ cid: 'tv-b', part: 0 }, { cid: 'tv-b', part: 1 }], tags: ['campaign'] })).status, 200)
    await until(() => lab.relay.admin.warm.list().every(({ open }) => !open))
    assert.deepEqual((await lab.admin('GET', '/cache/shards/tv-b/1')).json['tags'], ['campaign'])
    assert.deepEqual((await lab.admin('GET', '/cache/shards/Qm-a/0')).json['tags'], ['news', 'old'])
    assert.equal(await metric(lab.adminUrl, 'icn_relay_cache_tagged_cids'), 4)

    const byTag = await lab.admin('POST', '/cache/purge', { tag: 'old' })
    assert.deepEqual([byTag.status, byTag.json['purged']], [200, 6])
    for (const cid of ['Qm-a', 'Qm-b']) assert.equal(status(await lab.get(cid)), MISS)
    for (const cid of ['tv-a', 'tv-b']) assert.equal(status(await lab.get(cid)), HIT)
    await lab.calm()
    await lab.relay.close()

    const again = await setUp(t, { path })
    for (const cid of ['tv-a', 'Qm-a']) again.videos.set(cid, { label: '', tags: ['news'] })
    again.videos.set('tv-b', { label: '', tags: [] })
    assert.equal((await again.admin('POST', '/cache/purge', { tag: 'campaign' })).json['purged'], 4)
    assert.equal((await again.admin('POST', '/cache/purge', { prefix: 'tv-*' })).json['purged'], 3)
    assert.equal(status(await again.get('tv-a')), MISS)
    // The tag of what was fetched after the first purge, and of its manifest, which is kept.
    assert.equal((await again.admin('POST', '/cache/purge', { tag: 'news' })).json['purged'], 2)
    assert.equal(await metric(again.adminUrl, 'icn_relay_purged_objects_total', '{mode="hard"}'), 9)
  })

  test('during a fill: it is served, and not stored; by tag as well, when nothing of the video is cached yet', async t => {
    const lab = await setUp(t)
    lab.videos.set('Qm', { label: '', tags: ['news'] })
    assert.equal((await lab.get('Qm', 1)).status, 200)
    await lab.calm()
    assert.equal((await lab.admin('POST', '/cache/purge', { cids: ['Qm'] })).json['purged'], 1)
    // The manifest is believed before the shard has come.
    await lab.relay.admin.integrity.checks?.expects({ cid: 'Qm', part: 0 }, [])
    const fill = lab.relay.admin.shards.bringIn({ cid: 'Qm', part: 0 })
    assert.ok(fill)
    const purged = lab.admin('POST', '/cache/purge', { tag: 'news' })
    await Promise.all([purged, fill.finished])
    assert.equal(lab.relay.admin.shardCache.has({ cid: 'Qm', part: 0 }), false)
    assert.equal(status(await lab.get('Qm')), MISS)
  })

  test('softly: viewers get the stale bytes and are told, while one refetch makes them fresh, replaces them or has them gone', async t => {
    const path = await temporaryDirectory(t)
    const lab = await setUp(t, { path })
    const soft = async (): Promise<unknown> => (await lab.admin('POST', '/cache/purge', { prefix: 'Qm', mode: 'soft' })).json['purged']
    const settled = async (): Promise<void> => { await until(() => lab.relay.admin.shards.fills === 0 && lab.staleOf('Qm-a') !== true) }
    for (const cid of ['Qm-a', 'Qm-b']) lab.videos.set(cid, { label: '', tags: [] })
    for (const cid of ['Qm-a', 'Qm-b']) assert.equal((await lab.get(cid)).status, 200)
    await lab.calm()
    const asked = lab.origin.asked.length
    assert.equal(await soft(), 2)
    const stale = await lab.get('Qm-a')
    assert.deepEqual([stale.status, stale.headers['cache-control']], [200, 'public, max-age=0, must-revalidate'])
    assert.match(status(stale), /^icn-relay; hit; ttl=-\d+$/)
    assert.deepEqual(stale.body, videoShards('Qm-a', SIZE)[0])
    await settled()
    // The manifest was asked for anew and says the same: the shard itself was not fetched.
    assert.deepEqual(lab.origin.asked.slice(asked).map(({ part }) => part), ['manifest'])
    const fresh = await lab.get('Qm-a')
    assert.deepEqual([status(fresh), fresh.headers['cache-control']], [HIT, 'public, max-age=31536000, immutable'])
    assert.equal(typeof (await lab.admin('GET', '/cache/shards/Qm-b/0')).json['staleSince'], 'number')

    // Published anew under the same CID.
    lab.videos.set('Qm-a', { label: ' new', tags: [] })
    await soft()
    assert.deepEqual((await lab.get('Qm-a')).body, videoShards('Qm-a', SIZE)[0])
    await settled()
    const replaced = await lab.get('Qm-a')
    assert.deepEqual([status(replaced), replaced.body], [HIT, videoShards('Qm-a', SIZE, ' new')[0]])

    // Nobody has it any more.
    lab.videos.delete('Qm-a')
    await soft()
    assert.equal((await lab.get('Qm-a')).status, 200)
    await settled()
    assert.equal((await lab.get('Qm-a')).status, 404)
    for (const outcome of ['fresh', 'replaced', 'gone']) assert.equal(await metric(lab.adminUrl, 'icn_relay_revalidations_total', `{outcome="${outcome}"}`), 1)
    assert.equal(await metric(lab.adminUrl, 'icn_relay_cache_stale_hits_total'), 3)
    await lab.relay.close()

    // A restart forgets nothing: not that it is stale, nor since when.
    const again = await setUp(t, { path, max_stale_ms: 86_400_000 })
    again.videos.set('Qm-b', { label: ' new', tags: [] })
    assert.equal(again.staleOf('Qm-b'), true)
    assert.match(status(await again.get('Qm-b')), /ttl=-/)
    await again.calm()
    await again.relay.close()
  })

  test('softly: under load it stays stale, is not for other relays to keep, and after its time it is a miss', async t => {
    const path = await temporaryDirectory(t)
    const lab = await setUp(t, { path })
    lab.videos.set('Qm', { label: '', tags: [] })
    await lab.get('Qm')
    await lab.calm()
    await lab.admin('PUT', '/overload', { override: 'degraded' })
    assert.equal((await lab.admin('POST', '/cache/purge', { cids: ['Qm'], mode: 'soft' })).json['purged'], 1)
    const asked = lab.origin.asked.length
    for (let n = 0; n < 3; n++) assert.match(status(await lab.get('Qm')), /ttl=-/)
    const { headers, body } = await request(`${lab.viewerUrl}/shards/Qm/shard_0.bin`, { headers: { via: '1.1 icn-relay-other' } })
    await body.dump()
    assert.equal(headers['cache-control'], 'no-store')
    assert.equal(lab.origin.asked.length, asked)
    await lab.relay.close()
    const again = await setUp(t, { path, max_stale_ms: 1 })
    again.videos.set('Qm', { label: ' new', tags: [] })
    const missed = await again.get('Qm')
    assert.deepEqual([status(missed), missed.body], [MISS, videoShards('Qm', SIZE, ' new')[0]])
  })

  test('what is not one selector is refused, and the command says what went', async t => {
    const lab = await setUp(t)
    for (const body of [{}, { tag: 'a', prefix: 'b' }, { tag: 'a b' }, { prefix: '*' }, { all: false }, { cids: [] }, { mode: 'gentle', all: true }]) assertProblem(await lab.admin('POST', '/cache/purge', body), 'RELAY_ERR_BAD_REQUEST')
    lab.videos.set('Qm', { label: '', tags: [] })
    await lab.get('Qm')
    await lab.calm()
    const ask = await askRunning<PurgeReport>('purge', checkConfig({ admin: { loopback_without_token: true } }), lab.adminUrl)
    const command = { cids: [], prefix: undefined, tag: undefined, all: false, soft: false }
    assert.match(purgeText(await purgeCache(ask, { ...command, prefix: 'tv-' }), false), /^0 objects purged in \d+ ms$/)
    assert.equal((await purgeCache(ask, { ...command, all: true })).purged, 1)
    await assert.rejects(purgeCache(ask, { ...command, tag: 'a b' }), { code: 'RELAY_ERR_CONFIG', message: /^purge: the relay answers 400/ })
  })
})
