import assert from 'node:assert/strict'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { request } from 'undici'
import { startSuperNode, type SuperNode } from '../../demo/super-node/server.ts'
import type { JobHead } from '../../src/plugins/jobs/jobs.ts'
import { MAX_LISTENERS } from '../../src/plugins/jobs/job-events.ts'
import type { WarmProgress } from '../../src/plugins/warm/warm-job.ts'
import { fetchHashed, metric, until } from '../../tools/harness/http.ts'
import { startRelay, type RunningRelay } from '../../tools/harness/relay.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'

const SIZE = 50_000
const OPEN = { requests_per_minute: 100_000, loopback_without_token: true }

type WarmReport = JobHead & WarmProgress

interface Answer<T> { readonly status: number, readonly body: T & { readonly code: string, readonly detail: string } }

async function ask<T = WarmReport> (adminUrl: string, path: string, body?: unknown): Promise<Answer<T>> {
  const response = await request(`${adminUrl}/admin/v1${path}`, body === undefined ? {} : { method: 'POST', headers: { 'content-type': 'application/json', 'x-requested-with': 'test' }, ...body === null ? {} : { body: JSON.stringify(body) } })
  return { status: response.statusCode, body: await response.body.json() as Answer<T>['body'] }
}

async function warm (adminUrl: string, body: Record<string, unknown>): Promise<WarmReport> {
  const { status, body: job } = await ask(adminUrl, '/jobs', { type: 'warm', ...body })
  assert.equal(status, 200, job.detail)
  return job
}

const isOpen = ({ state }: JobHead): boolean => state === 'waiting' || state === 'running'

async function ended (adminUrl: string, { id }: JobHead): Promise<WarmReport> {
  return await until(async () => (await ask(adminUrl, `/jobs/${id}`)).body, job => !isOpen(job))
}

async function setUp (t: TestContext, settings: Record<string, Record<string, unknown>> = {}): Promise<RunningRelay & { readonly origin: SuperNode }> {
  const origin = await startSuperNode({ port: 0 })
  t.after(async () => { await origin.close() })
  const relay = await startRelay(t, [{ url: origin.url, region: origin.region }], { ...settings, admin: { ...OPEN, ...settings['admin'] } })
  return { ...relay, origin }
}

/** The events of a stream until it ends. */
async function eventsOf (adminUrl: string, id: string): Promise<{ event: string, job: WarmReport }[]> {
  const response = await request(`${adminUrl}/admin/v1/jobs/${id}/events`)
  assert.deepEqual([response.statusCode, response.headers['content-type'], response.headers['cache-control']], [200, 'text/event-stream', 'no-store'])
  return (await response.body.text()).split('\n\n').filter(text => text.startsWith('id:')).map(text => {
    const [, event = '', data = ''] = /^id: \d+\nevent: (\w+)\ndata: (.*)$/.exec(text) ?? assert.fail(text)
    return { event, job: JSON.parse(data) as WarmReport }
  })
}

suite('warm jobs', () => {
  test('manifest and data shards come once, parity when asked for; what is cached is not fetched, and viewers hit without having missed', async t => {
    const { origin, adminUrl, viewerUrl } = await setUp(t)
    const [a, b] = [`syn-${SIZE}-a`, `syn-${SIZE}-b`]
    const first = await ended(adminUrl, await warm(adminUrl, { cids: [a] }))
    assert.deepEqual([first.state, first.counts, first.videos], ['done', { total: 11, pending: 0, fetched: 11, present: 0, failed: 0 }, 1])
    assert.equal(first.bytes, origin.stats().bytesSent)
    const second = await ended(adminUrl, await warm(adminUrl, { cids: [a, b, a], parity: true, concurrency: 3 }))
    assert.deepEqual([second.state, second.counts, second.concurrency], ['done', { total: 30, pending: 0, fetched: 19, present: 11, failed: 0 }, 3])
    assert.deepEqual(Object.entries(origin.stats().byPath).filter(([path, count]) => path.startsWith('/shards/') && count !== 1), [])
    assert.equal(await metric(adminUrl, 'icn_relay_cache_misses_total', '{collapsed="false"}'), 0)
    assert.equal((await fetchHashed(`${viewerUrl}/shards/${b}/shard_13.bin`)).headers['cache-status'], 'icn-relay; hit')
    const outcomes = await Promise.all(['fetched', 'present', 'failed'].map(async outcome => await metric(adminUrl, 'icn_relay_warm_shards_total', `{outcome="${outcome}"}`)))
    assert.deepEqual(outcomes, [30, 11, 0])
    assert.equal(await metric(adminUrl, 'icn_relay_warm_bytes_total'), first.bytes + second.bytes)
    assert.equal(await metric(adminUrl, 'icn_relay_warm_jobs', '{state="done"}'), 2)
  })

  test('a manifest URL names its video and is not fetched; shards are named one by one', async t => {
    const { origin, adminUrl } = await setUp(t)
    const cid = `syn-${SIZE}-named`
    const one = await ended(adminUrl, await warm(adminUrl, { shards: [{ cid, part: 13 }, { cid, part: 'manifest' }, { cid, part: 13 }] }))
    assert.deepEqual([one.counts.total, one.counts.fetched], [2, 2])
    const whole = await ended(adminUrl, await warm(adminUrl, { manifest: `http://127.0.0.1:1/shards/${cid}/manifest.json?from=mail` }))
    assert.deepEqual([whole.state, whole.counts.present, whole.counts.fetched], ['done', 1, 10])
    assert.equal(origin.stats().byPath[`/shards/${cid}/manifest.json`], 1)
  })

  test('what is asked for wrongly is one clear sentence', async t => {
    const { adminUrl } = await setUp(t)
    const many = Array.from({ length: 1_001 }, (_, n) => `Qm${n}`)
    for (const [body, says] of [
      [{}, /exactly one of cids, manifest and shards/],
      [{ cids: ['QmA'], manifest: 'http://a/shards/QmA/manifest.json' }, /exactly one/],
      [{ manifest: 'http://a/video/QmA' }, /a path like \/shards\/\{cid\}\/manifest\.json/],
      [{ manifest: 'file:///shards/QmA/manifest.json' }, /http or https URL/],
      [{ shards: [{ cid: 'QmA', part: 0 }], parity: true }, /parity is for whole videos/],
      [{ cids: many }, /body\.cids must NOT have more than 1000 items/],
      [{ cids: ['../x'] }, /body\.cids\.0 must match pattern/],
      [{ cids: [] }, /body\.cids must NOT have fewer than 1 items/],
      [{ shards: [{ cid: 'QmA', part: 14 }] }, /body\.shards\.0\.part/],
      [{ shards: many.map(cid => ({ cid, part: 0 })) }, /names 1001 videos, and a job has 1000 at most/],
      [{ cids: ['QmA'], concurrency: 17 }, /body\.concurrency must be <= 16/],
      [{ cids: ['QmA'], cid: 'QmA' }, /body has the unknown property "cid"/]
    ] as const) {
      const { status, body: { code, detail } } = await ask(adminUrl, '/jobs', { type: 'warm', ...body })
      assert.deepEqual([status, code], [400, 'RELAY_ERR_BAD_REQUEST'], detail)
      assert.match(detail, says)
    }
    assert.match((await ask(adminUrl, '/jobs', { type: 'other' })).body.detail, /discriminator|"type" must be/)
    assert.deepEqual((await ask<{ jobs: unknown[] }>(adminUrl, '/jobs')).body.jobs, [])
  })

  test('it waits while the relay is degraded or drains, and goes on afterwards', async t => {
    const { relay, origin, adminUrl } = await setUp(t)
    relay.admin.overload.setOverride('degraded', 0)
    const job = await warm(adminUrl, { cids: [`syn-${SIZE}-load`] })
    await until(async () => (await ask(adminUrl, `/jobs/${job.id}`)).body, ({ waitsFor }) => waitsFor === 'load')
    assert.equal(await metric(adminUrl, 'icn_relay_warm_waiting'), 1)
    relay.admin.viewers.live.update({ drain: { deadlineMs: 1_000, alternates: [] } })
    relay.admin.overload.setOverride(undefined, 0)
    await until(async () => (await ask(adminUrl, `/jobs/${job.id}`)).body, ({ waitsFor }) => waitsFor === 'drain')
    assert.equal(origin.stats().requests, 0)
    relay.admin.viewers.live.update({ drain: undefined })
    assert.deepEqual((await ended(adminUrl, job)).state, 'done')
  })

  test('half of the fills are for viewers alone', async t => {
    const { origin, adminUrl, viewerUrl } = await setUp(t, { upstream: { max_fills: 2 } })
    origin.setFaults({ match: 'viewer', latencyMs: 1_000 })
    const viewer = fetchHashed(`${viewerUrl}/shards/syn-${SIZE}-viewer/shard_0.bin`)
    await until(async () => origin.stats().requests, requests => requests === 1)
    const job = await warm(adminUrl, { cids: [`syn-${SIZE}-behind`] })
    assert.equal((await ask(adminUrl, `/jobs/${job.id}`)).body.waitsFor, 'load')
    assert.equal(origin.stats().requests, 1)
    assert.equal((await viewer).status, 200)
    assert.equal((await ended(adminUrl, job)).state, 'done')
  })

  test('as many shards as a job may have can be asked for, and no more', async t => {
    const { relay, adminUrl } = await setUp(t)
    relay.admin.overload.setOverride('degraded', 0)
    const shards = Array.from({ length: 14_000 }, (_, n) => ({ cid: `${'x'.repeat(124)}${String(n % 1_000).padStart(4, '0')}`, part: Math.floor(n / 1_000) }))
    const job = await warm(adminUrl, { shards })
    assert.deepEqual([job.videos, job.counts.total], [1_000, 14_000])
    const more = await ask(adminUrl, '/jobs', { type: 'warm', shards: [...shards, { cid: 'QmA', part: 0 }] })
    assert.deepEqual([more.status, more.body.detail], [400, 'body.shards must NOT have more than 14000 items'])
    const larger = await ask(adminUrl, '/jobs', { type: 'warm', cids: [], filling: 'x'.repeat(3_200_000) })
    assert.deepEqual([larger.status, larger.body.code], [413, 'RELAY_ERR_BODY_TOO_LARGE'])
    assert.equal((await ask(adminUrl, `/jobs/${job.id}/cancel`, null)).body.state, 'cancelled')
  })

  test('what nobody has fails the job by name, and is there after a retry; a job that is done is not tried again', async t => {
    const { origin, adminUrl } = await setUp(t)
    origin.setFaults({ match: 'shard_04.bin', notFound: true })
    const cid = `syn-${SIZE}-late`
    const job = await ended(adminUrl, await warm(adminUrl, { cids: [cid] }))
    assert.deepEqual([job.state, job.detail, job.failures], ['failed', '1 of 11 objects could not be brought in', [{ cid, part: 4, code: 'RELAY_ERR_SHARD_NOT_FOUND' }]])
    origin.setFaults({})
    const again = await ask(adminUrl, `/jobs/${job.id}/retry`, null)
    assert.deepEqual([again.status, again.body.failures, again.body.counts.failed], [200, [], 0])
    const done = await ended(adminUrl, job)
    assert.deepEqual([done.state, done.detail, done.counts.fetched, done.counts.failed], ['done', null, 11, 0])
    const refused = await ask(adminUrl, `/jobs/${job.id}/retry`, null)
    assert.deepEqual([refused.status, refused.body.code], [409, 'RELAY_ERR_JOB_STATE'])
    assert.equal((await ask(adminUrl, '/jobs/none/retry', null)).status, 404)
  })

  test('cancelled, it ends and is remembered; a retry brings in what was left', async t => {
    const { origin, adminUrl } = await setUp(t)
    origin.setFaults({ match: 'shard_00.bin', latencyMs: 1_000 })
    const job = await warm(adminUrl, { cids: [`syn-${SIZE}-cancel`], concurrency: 1 })
    await until(async () => origin.stats().byPath[`/shards/syn-${SIZE}-cancel/shard_00.bin`], count => count === 1)
    const cancelled = await ask(adminUrl, `/jobs/${job.id}/cancel`, null)
    assert.deepEqual([cancelled.body.state, cancelled.body.detail, cancelled.body.counts.pending], ['cancelled', 'an operator has cancelled it', 10])
    assert.equal((await ask(adminUrl, `/jobs/${job.id}/cancel`, null)).body.state, 'cancelled')
    assert.equal((await ask(adminUrl, `/jobs/${job.id}/retry`, null)).status, 200)
    const done = await ended(adminUrl, job)
    // What was under way has come meanwhile, or is waited for.
    assert.deepEqual([done.state, done.detail, done.counts], ['done', null, { total: 11, pending: 0, fetched: 10, present: 1, failed: 0 }])
    assert.deepEqual(Object.values(origin.stats().byPath).filter(count => count !== 1), [])
  })
})

suite('events of a job', () => {
  test('progress comes as it is made, and the end with it', async t => {
    const { origin, adminUrl } = await setUp(t)
    origin.setFaults({ latencyMs: 100 })
    const job = await warm(adminUrl, { cids: [`syn-${SIZE}-events`], concurrency: 1 })
    const events = await eventsOf(adminUrl, job.id)
    const done = events.map(({ job: { counts } }) => counts.total - counts.pending)
    assert.deepEqual(done, done.toSorted((a, b) => a - b))
    assert.ok(events.length >= 2)
    assert.deepEqual([events.at(-1)?.event, events.at(-1)?.job.state, events.filter(({ event }) => event === 'end').length], ['end', 'done', 1])
    assert.deepEqual((await eventsOf(adminUrl, job.id)).map(({ event }) => event), ['end'])
  })

  test('so many may listen; whoever is one too many is told, and the relay ends all of them when it stops', async t => {
    const { relay, origin, adminUrl } = await setUp(t)
    origin.setFaults({ hang: true })
    const { id } = await warm(adminUrl, { cids: [`syn-${SIZE}-listeners`] })
    const url = `${adminUrl}/admin/v1/jobs/${id}/events`
    const listeners = await Promise.all(Array.from({ length: MAX_LISTENERS }, async () => await request(url)))
    const refused = await request(url)
    assert.deepEqual([refused.statusCode, (await refused.body.json() as { code: string }).code], [503, 'RELAY_ERR_EVENTS_BUSY'])
    const texts = Promise.all(listeners.map(async ({ body }) => await body.text()))
    await relay.close()
    for (const text of await texts) assert.match(text, /^id: 1\nevent: progress\n/)
  })
})

suite('warm jobs over a restart', () => {
  test('what was left goes on, what came is not asked for again, and what has ended is remembered', async t => {
    const path = join(await temporaryDirectory(t), 'cache')
    const { relay, origin, adminUrl } = await setUp(t, { cache: { path } })
    const [a, b] = [`syn-${SIZE}-before`, `syn-${SIZE}-after`]
    const done = await ended(adminUrl, await warm(adminUrl, { cids: [`syn-${SIZE}-done`] }))
    origin.setFaults({ match: 'shard_05.bin', hang: true })
    const left = await warm(adminUrl, { cids: [a], concurrency: 1 })
    await until(async () => origin.stats().byPath[`/shards/${a}/shard_05.bin`], count => count === 1)
    const waiting = await warm(adminUrl, { cids: [b] })
    assert.equal(waiting.state, 'waiting')
    await relay.close()
    origin.setFaults({})
    const again = await startRelay(t, [{ url: origin.url, region: origin.region }], { admin: OPEN, cache: { path } })
    const first = await ended(again.adminUrl, left)
    assert.deepEqual([first.state, first.counts], ['done', { total: 11, pending: 0, fetched: 11, present: 0, failed: 0 }])
    assert.deepEqual((await ended(again.adminUrl, waiting)).counts.fetched, 11)
    const { byPath } = origin.stats()
    assert.deepEqual(Object.entries(byPath).filter(([name, count]) => name.startsWith('/shards/') && count !== 1), [[`/shards/${a}/shard_05.bin`, 2]])
    const { body: { jobs } } = await ask<{ jobs: WarmReport[] }>(again.adminUrl, '/jobs')
    assert.deepEqual(jobs.map(({ id, state }) => [id, state]), [[waiting.id, 'done'], [left.id, 'done'], [done.id, 'done']])
    assert.deepEqual(jobs[2], done)
  })

  test('a state that cannot be used is moved aside, and the relay starts', async t => {
    const path = join(await temporaryDirectory(t), 'cache')
    const { relay, adminUrl } = await setUp(t, { cache: { path } })
    await ended(adminUrl, await warm(adminUrl, { cids: [`syn-${SIZE}-state`] }))
    await relay.close()
    const file = join(path, 'warm-jobs.json')
    const text = await readFile(file, 'utf8')
    for (const [damaged, name] of [[text.slice(0, -9), 'damaged'], [text.replace('"version":1', '"version":2'), 'other-version'], ['[]', 'damaged']] as const) {
      await writeFile(file, damaged)
      const again = await startRelay(t, [{ url: 'http://127.0.0.1:9', region: 'APAC' }], { admin: OPEN, cache: { path } })
      assert.deepEqual((await ask<{ jobs: unknown[] }>(again.adminUrl, '/jobs')).body.jobs, [])
      await again.relay.close()
      const aside = (await readdir(path)).filter(entry => entry.startsWith(`warm-jobs.json.${name}-`))
      const texts = await Promise.all(aside.map(async entry => await readFile(join(path, entry), 'utf8')))
      assert.ok(texts.includes(damaged), aside.join())
      assert.ok(!(await readdir(path)).includes('warm-jobs.json'))
    }
  })
})

suite('the feed', () => {
  interface Feed {
    readonly url: string
    readonly asked: IncomingHttpHeaders[]
    answer: { status: number, body: string, etag?: string }
  }

  async function startFeed (t: TestContext): Promise<Feed> {
    const feed: Feed = { url: '', asked: [], answer: { status: 200, body: '{"items":[]}' } }
    const server = createServer((message, response) => {
      feed.asked.push(message.headers)
      const { status, body, etag } = feed.answer
      if (etag !== undefined) response.setHeader('etag', etag)
      if (etag !== undefined && message.headers['if-none-match'] === etag) response.writeHead(304).end()
      else response.writeHead(status, { 'content-type': 'application/json' }).end(body)
    })
    await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
    t.after(() => { server.close().closeAllConnections() })
    return Object.assign(feed, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/recent` })
  }

  const item = (cid: string, ageMs = 0): unknown => ({ cid, publishedAt: new Date(Date.now() - ageMs).toISOString(), tags: ['new'] })

  test('what is new is warmed once, also over a restart; what is old is not; the list is asked for with its etag; what is no list counts as failed', async t => {
    const feed = await startFeed(t)
    const path = join(await temporaryDirectory(t), 'cache')
    const [a, b] = [`syn-${SIZE}-new`, `syn-${SIZE}-newer`]
    feed.answer = { status: 200, body: JSON.stringify({ items: [item(a), item('QmOld', 90_000_000)], more: 1 }), etag: '"1"' }
    const settings = { cache: { path }, warm: { feed: { url: feed.url, interval_ms: 20 } } }
    const { relay, origin, adminUrl } = await setUp(t, settings)
    const jobs = async (url: string): Promise<WarmReport[]> => (await ask<{ jobs: WarmReport[] }>(url, '/jobs')).body.jobs
    const [first] = await until(async () => await jobs(adminUrl), ([job]) => job?.state === 'done')
    assert.deepEqual([first?.source, first?.videos, first?.counts.fetched], ['feed', 1, 11])
    await until(async () => feed.asked.filter(headers => headers['if-none-match'] === '"1"').length, count => count > 1)
    assert.ok(await metric(adminUrl, 'icn_relay_warm_feed_polls_total', '{outcome="unchanged"}') > 0)
    assert.equal(await metric(adminUrl, 'icn_relay_warm_feed_videos_total'), 1)
    for (const answer of [{ status: 500, body: '' }, { status: 200, body: '{' }, { status: 200, body: '{"items":[{"cid":"../x","publishedAt":"2026-01-01"}]}' }, { status: 200, body: JSON.stringify({ items: [{ cid: 'QmA', publishedAt: 'soon' }] }) }, { status: 200, body: ' '.repeat(1_100_000) }]) {
      const failed = await metric(adminUrl, 'icn_relay_warm_feed_polls_total', '{outcome="failed"}')
      feed.answer = answer
      await until(async () => await metric(adminUrl, 'icn_relay_warm_feed_polls_total', '{outcome="failed"}'), count => count > failed)
    }
    await relay.close()
    assert.equal((await readdir(path)).filter(name => name === 'warm-jobs.json').length, 1)
    feed.answer = { status: 200, body: JSON.stringify({ items: [item(b), item(a)] }), etag: 'without quotes' }
    const again = await startRelay(t, [{ url: origin.url, region: origin.region }], { admin: OPEN, ...settings })
    const [second] = await until(async () => await jobs(again.adminUrl), ([job]) => job !== undefined && job.id !== first?.id && job.state === 'done')
    assert.deepEqual([second?.videos, second?.counts.fetched], [1, 11])
    assert.equal((await jobs(again.adminUrl)).length, 2)
    // What is no etag is not sent back.
    const before = feed.asked.length
    await until(async () => feed.asked.length, count => count > before + 1)
    assert.equal(feed.asked.at(-1)?.['if-none-match'], undefined)
  })

  test('what the demo publishes arrives by itself', async t => {
    const origin = await startSuperNode({ port: 0, media: ['demo/media/clip.webm'] })
    t.after(async () => { await origin.close() })
    const { adminUrl, viewerUrl } = await startRelay(t, [{ url: origin.url, region: origin.region }], { admin: OPEN, warm: { feed: { url: `${origin.url}/recent`, max_age_ms: 31_536_000_000 } } })
    const [job] = await until(async () => (await ask<{ jobs: WarmReport[] }>(adminUrl, '/jobs')).body.jobs, ([first]) => first !== undefined && !isOpen(first))
    assert.deepEqual([job?.state, job?.source, job?.counts.fetched], ['done', 'feed', 11])
    assert.equal((await fetchHashed(`${viewerUrl}/shards/${origin.catalog[0]?.cid ?? ''}/shard_9.bin`)).headers['cache-status'], 'icn-relay; hit')
  })
})
