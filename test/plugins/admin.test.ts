import assert from 'node:assert/strict'
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { request, type Dispatcher } from 'undici'
import { startSuperNode, syntheticShard, type Faults, type SuperNode } from '../../demo/super-node/server.ts'
import { METRICS } from '../../src/plugins/metrics/definitions.ts'
import { cacheStats, inParallel, sha256, until } from '../../tools/harness/http.ts'
import { startRelay, type RunningRelay } from '../../tools/harness/relay.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'
import { assertProblem } from '../support/problem.ts'
import { exchange } from '../support/raw-http.ts'

type Settings = Record<string, Record<string, unknown>>
interface Setup extends RunningRelay { readonly origin: SuperNode }

async function setup (t: TestContext, settings: Settings = {}, faults: Faults = {}): Promise<Setup> {
  const origin = await startSuperNode({ port: 0, faults })
  t.after(async () => { await origin.close() })
  const running = await startRelay(t, [{ url: origin.url, region: origin.region }], { ...settings, admin: { requests_per_minute: 100_000, ...settings['admin'] } })
  return { ...running, origin }
}

interface Answer {
  readonly status: number
  readonly headers: Dispatcher.ResponseData['headers']
  readonly body: Buffer
  readonly json: () => unknown
}

async function call (url: string, method: Dispatcher.HttpMethod = 'GET', options: { body?: unknown, headers?: Record<string, string> } = {}): Promise<Answer> {
  const content = options.body === undefined ? {} : { body: typeof options.body === 'string' ? options.body : JSON.stringify(options.body) }
  const headers = { 'x-requested-with': 'test', ...(options.body === undefined ? {} : { 'content-type': 'application/json' }), ...options.headers }
  const response = await request(url, { method, headers, ...content })
  const body = Buffer.from(await response.body.arrayBuffer())
  return { status: response.statusCode, headers: response.headers, body, json: () => JSON.parse(body.toString()) as unknown }
}

/** Fetches objects one after the other, so that their order of use is known, and waits until they are stored. */
async function store ({ viewerUrl, adminUrl }: RunningRelay, objects: readonly string[]): Promise<void> {
  for (const object of objects) {
    const { status } = await call(`${viewerUrl}/shards/${object}`)
    assert.equal(status, 200, object)
    await until(async () => await cacheStats(adminUrl), stats => stats.fills === 0)
  }
}

interface Page { readonly entries: { readonly cid: string, readonly part: number | 'manifest' }[], readonly next?: string }

/** Follows the cursors from the first page to the last. */
async function listAll (adminUrl: string, query: Record<string, string>): Promise<{ keys: string[], pages: number }> {
  const keys: string[] = []
  let pages = 0
  let cursor: string | undefined
  do {
    const search = new URLSearchParams({ ...query, ...(cursor === undefined ? {} : { cursor }) })
    const answer = await call(`${adminUrl}/admin/v1/cache/shards?${search.toString()}`)
    assert.equal(answer.status, 200)
    const page = answer.json() as Page
    keys.push(...page.entries.map(({ cid, part }) => `${cid}/${part}`))
    pages++
    cursor = page.next
  } while (cursor !== undefined)
  return { keys, pages }
}

test('JSON of the admin listener and of /v1/transport ends with a line feed, which content-length counts, for HEAD too', async t => {
  const { adminUrl, viewerUrl } = await setup(t)
  for (const url of [...['/health', '/ready', '/admin/v1/cache', '/admin/v1/cache/manifest', '/admin/v1/upstreams', '/nothing'].map(path => adminUrl + path), `${viewerUrl}/v1/transport?ticket=none`, `${viewerUrl}/nothing`]) {
    const { body, headers } = await call(url)
    assert.equal(body.toString().slice(-2), '}\n', url)
    assert.notEqual(body.toString().at(-3), '\n', url)
    assert.equal(headers['content-length'] ?? String(body.length), String(body.length), url)
  }
  const [head, whole] = [await call(`${adminUrl}/ready`, 'HEAD'), await call(`${adminUrl}/ready`)]
  assert.equal(head.headers['content-length'], whole.headers['content-length'])
})

suite('cache', () => {
  test('videos newest first: those whose manifest was stored last, as many as are asked for', async t => {
    const running = await setup(t, { viewer: { player: true } })
    await store(running, ['syn-1000-a/manifest.json', 'syn-1000-b/manifest.json', 'syn-1000-c/shard_0.bin'])
    const { videos } = (await call(`${running.viewerUrl}/player/recent`)).json() as { videos: { cid: string }[] }
    assert.deepEqual(videos.map(({ cid }) => cid), ['syn-1000-b', 'syn-1000-a'])
  })

  test('statistics tell what is stored and what the bounds are', async t => {
    const running = await setup(t, { cache: { max_bytes: 50_000_000, ram_bytes: 1_000_000 } })
    await store(running, ['syn-1000-a/shard_0.bin', 'syn-2000-b/shard_1.bin'])
    const stats = (await call(`${running.adminUrl}/admin/v1/cache`)).json() as Record<string, unknown>
    const { indexPending, ...rest } = stats
    assert.equal(typeof indexPending, 'number')
    assert.deepEqual(rest, {
      maxBytes: 50_000_000,
      ramBytes: 1_000_000,
      eviction: 's3-fifo',
      disk: { usedBytes: 3_000, sizeBytes: 3_000, reservedBytes: 0, condemnedBytes: 0, entries: 2, openFiles: 0 },
      ram: { usedBytes: 0, entries: 0 },
      fills: 0,
      reconciled: true
    })
  })

  test('the list has every entry once, ordered by key, over any number of pages', async t => {
    const running = await setup(t)
    const objects = Array.from({ length: 7 }, (_, n) => [`syn-10-list${n}/shard_${n}.bin`, `syn-10-list${n}/shard_1${n % 4}.bin`, `syn-10-list${n}/manifest.json`]).flat()
    await inParallel(objects, 4, async object => { await call(`${running.viewerUrl}/shards/${object}`) })
    await until(async () => await cacheStats(running.adminUrl), stats => stats.fills === 0)
    const expected = objects.map(object => object.replace(/shard_(\d+)\.bin/, '$1').replace('manifest.json', 'manifest')).sort()
    for (const [limit, pages] of [['4', 6], ['21', 1], ['20', 2], ['1', 21], ['1000', 1]] as const) {
      const listed = await listAll(running.adminUrl, { limit })
      assert.deepEqual(listed.keys, expected, `limit ${limit}`)
      assert.equal(listed.pages, pages, `limit ${limit}`)
    }
    const one = await listAll(running.adminUrl, { cid: 'syn-10-list3', limit: '2' })
    assert.deepEqual(one, { keys: expected.filter(key => key.startsWith('syn-10-list3/')), pages: 2 })
    assert.deepEqual(await listAll(running.adminUrl, { cid: 'syn-10-list' }), { keys: [], pages: 1 })
    assert.deepEqual((await listAll(running.adminUrl, { cid: 'syn-10-list3', cursor: 'zzz/0' })).keys, [])
  })

  test('a purge between two pages neither repeats nor loses the others', async t => {
    const running = await setup(t)
    await store(running, [0, 1, 2, 3, 4].map(n => `syn-10-cut${n}/shard_0.bin`))
    const { entries, next = '' } = (await call(`${running.adminUrl}/admin/v1/cache/shards?limit=2`)).json() as Page
    assert.equal(next, 'syn-10-cut1/0')
    await call(`${running.adminUrl}/admin/v1/cache/shards/syn-10-cut1/0`, 'DELETE')
    await call(`${running.adminUrl}/admin/v1/cache/shards/syn-10-cut2/0`, 'DELETE')
    const rest = (await call(`${running.adminUrl}/admin/v1/cache/shards?limit=5&cursor=${encodeURIComponent(next)}`)).json() as Page
    assert.deepEqual([...entries, ...rest.entries].map(({ cid }) => cid), ['syn-10-cut0', 'syn-10-cut1', 'syn-10-cut3', 'syn-10-cut4'])
    assert.equal(rest.next, undefined)
  })

  test('details of an entry are those of the bytes that are served', async t => {
    const running = await setup(t)
    const before = Date.now()
    await store(running, ['syn-1234-d/shard_2.bin', 'syn-1234-d/manifest.json'])
    await call(`${running.viewerUrl}/shards/syn-1234-d/shard_2.bin`)
    // The lease ends when the file handle has closed, a moment after the viewer has its bytes.
    const entry = await until(
      async () => (await call(`${running.adminUrl}/admin/v1/cache/shards/syn-1234-d/2`)).json() as Record<string, number>,
      value => value['readers'] === 0
    )
    const { storedAt = 0, lastAccess = 0, ...rest } = entry
    assert.deepEqual(rest, { cid: 'syn-1234-d', part: 2, size: 1234, sha256: sha256(syntheticShard('syn-1234-d', 2)), verified: false, hits: 1, readers: 0, staleSince: null, freshUntil: null, tags: [] })
    assert.ok(before <= storedAt && storedAt <= lastAccess && lastAccess <= Date.now())
    const { part, storedAt: since, freshUntil } = (await call(`${running.adminUrl}/admin/v1/cache/shards/syn-1234-d/manifest`)).json() as { part: string, storedAt: number, freshUntil: number }
    assert.deepEqual([part, freshUntil - since], ['manifest', 3_600_000])
  })

  test('entries that are not there are 404, keys that cannot be are 400', async t => {
    const { adminUrl } = await setup(t)
    assertProblem(await call(`${adminUrl}/admin/v1/cache/shards/nothing/0`), 'RELAY_ERR_NOT_FOUND')
    assertProblem(await call(`${adminUrl}/admin/v1/nothing`), 'RELAY_ERR_NOT_FOUND')
    for (const path of ['a/14', 'a/-1', 'a/05', 'a/1e1', 'a/shard_0.bin', 'a.b/0', `${'a'.repeat(129)}/0`, 'a%2Fb/0', '%00/0']) {
      for (const method of ['GET', 'DELETE'] as const) assertProblem(await call(`${adminUrl}/admin/v1/cache/shards/${path}`, method), 'RELAY_ERR_BAD_REQUEST', `${method} ${path}`)
    }
    for (const query of ['limit=0', 'limit=1001', 'limit=x', 'limit=1.5', 'cursor=x', 'cursor=a/b', 'cid=a.b', 'cid=', 'unknown=1', 'limit=1&limit=2']) {
      assertProblem(await call(`${adminUrl}/admin/v1/cache/shards?${query}`), 'RELAY_ERR_BAD_REQUEST', query)
    }
  })
})

suite('purge', () => {
  test('one shard, one CID, everything: what is purged is fetched again, the rest is not', async t => {
    const running = await setup(t)
    const { adminUrl, viewerUrl } = running
    const shards = `${adminUrl}/admin/v1/cache/shards`
    const objects = ['syn-50-a/shard_0.bin', 'syn-50-a/shard_1.bin', 'syn-50-a/manifest.json', 'syn-50-b/shard_0.bin', 'syn-50-c/shard_0.bin']
    await store(running, objects)
    const cached = async (): Promise<string[]> => (await listAll(adminUrl, {})).keys
    assert.deepEqual((await call(`${shards}/syn-50-a/0`, 'DELETE')).json(), { purged: 1 })
    assert.deepEqual((await call(`${shards}/syn-50-a/0`, 'DELETE')).json(), { purged: 0 })
    assert.deepEqual(await cached(), ['syn-50-a/1', 'syn-50-a/manifest', 'syn-50-b/0', 'syn-50-c/0'])
    assert.equal((await call(`${viewerUrl}/shards/syn-50-a/shard_0.bin`)).headers['cache-status'], 'icn-relay; fwd=uri-miss')
    await until(async () => await cacheStats(adminUrl), stats => stats.fills === 0)
    assert.deepEqual((await call(`${shards}/syn-50-a`, 'DELETE')).json(), { purged: 3 })
    assert.deepEqual(await cached(), ['syn-50-b/0', 'syn-50-c/0'])
    for (const query of ['', '?confirm=yes', '?confirm=', '?confirm=all&x=1']) assertProblem(await call(shards + query, 'DELETE'), 'RELAY_ERR_BAD_REQUEST', query)
    assert.deepEqual((await call(`${shards}?confirm=all`, 'DELETE')).json(), { purged: 2 })
    assert.deepEqual(await cached(), [])
    assert.equal((await cacheStats(adminUrl)).disk.usedBytes, 0)
  })

  test('an object that is being fetched when its key is purged is served and not stored', async t => {
    for (const path of ['/syn-300000-p/0', '/syn-300000-p', '?confirm=all']) {
      const { adminUrl, viewerUrl, origin } = await setup(t, {}, { bytesPerSecond: 1_000_000 })
      const inFlight = call(`${viewerUrl}/shards/syn-300000-p/shard_0.bin`)
      await until(async () => origin.stats().bytesSent, bytes => bytes > 0)
      assert.deepEqual((await call(`${adminUrl}/admin/v1/cache/shards${path}`, 'DELETE')).json(), { purged: 0 })
      assert.deepEqual((await inFlight).body, syntheticShard('syn-300000-p', 0))
      // The last of its readers gives the room back, a moment after the fill.
      const stats = await until(async () => await cacheStats(adminUrl), ({ fills, disk }) => fills === 0 && disk.reservedBytes === 0)
      assert.deepEqual([stats.disk.entries, stats.disk.usedBytes], [0, 0], path)
    }
  })
})

suite('capacity', () => {
  test('a smaller bound holds immediately, and the least recently used go', async t => {
    const running = await setup(t, { cache: { eviction: 'lru' }, upstream: { max_object_bytes: 10_000 } })
    const { adminUrl, viewerUrl } = running
    await store(running, Array.from({ length: 10 }, (_, n) => `syn-10000-cap${n}/shard_0.bin`))
    await call(`${viewerUrl}/shards/syn-10000-cap0/shard_0.bin`)
    const answer = await call(`${adminUrl}/admin/v1/cache`, 'PATCH', { body: { maxBytes: 35_000, ramBytes: 5_000 } })
    assert.equal(answer.status, 200)
    const { maxBytes, ramBytes, disk } = answer.json() as { maxBytes: number, ramBytes: number, disk: Record<string, number> }
    assert.equal(maxBytes, 35_000)
    assert.equal(disk['usedBytes'], 30_000)
    assert.equal(ramBytes, 5_000)
    assert.deepEqual((await listAll(adminUrl, {})).keys, ['syn-10000-cap0/0', 'syn-10000-cap8/0', 'syn-10000-cap9/0'])
    await store(running, ['syn-10000-new/shard_0.bin'])
    assert.ok((await cacheStats(adminUrl)).disk.usedBytes <= 35_000)
  })

  test('the memory tier shrinks immediately too', async t => {
    const running = await setup(t)
    for (let n = 0; n < 4; n++) await store(running, ['syn-10000-ram/shard_0.bin'])
    await until(async () => (await cacheStats(running.adminUrl)).ram.entries, entries => entries === 1)
    const { ramBytes, ram } = (await call(`${running.adminUrl}/admin/v1/cache`, 'PATCH', { body: { ramBytes: 0 } })).json() as { ramBytes: number, ram: unknown }
    assert.deepEqual([ramBytes, ram], [0, { usedBytes: 0, entries: 0 }])
    assert.deepEqual((await call(`${running.viewerUrl}/shards/syn-10000-ram/shard_0.bin`)).body, syntheticShard('syn-10000-ram', 0))
  })

  test('a body that is not exactly right changes nothing', async t => {
    // Below what is free, which others on this machine change meanwhile.
    const { adminUrl } = await setup(t, { cache: { max_bytes: 1_000_000_000 } })
    const before = await cacheStats(adminUrl)
    const bad: unknown[] = [{}, [], null, 1, '"x"', { maxBytes: '1000' }, { maxBytes: 0 }, { maxBytes: -1 }, { maxBytes: 1.5 }, { maxBytes: null }, { maxBytes: true }, { maxBytes: 1e300 },
      { ramBytes: -1 }, { maxbytes: 1_000 }, { maxBytes: 1_000, extra: 1 }, '{"maxBytes":', '{maxBytes:1}', '{"__proto__":{"maxBytes":1}}', '{"constructor":{"prototype":{}},"maxBytes":1}']
    for (const body of bad) assertProblem(await call(`${adminUrl}/admin/v1/cache`, 'PATCH', { body }), 'RELAY_ERR_BAD_REQUEST', JSON.stringify(body))
    assertProblem(await call(`${adminUrl}/admin/v1/cache`, 'PATCH'), 'RELAY_ERR_BAD_REQUEST')
    assertProblem(await call(`${adminUrl}/admin/v1/cache`, 'PATCH', { body: '', headers: { 'content-type': 'application/json' } }), 'RELAY_ERR_BAD_REQUEST')
    assertProblem(await call(`${adminUrl}/admin/v1/cache`, 'PATCH', { body: 'maxBytes=1000', headers: { 'content-type': 'application/x-www-form-urlencoded' } }), 'RELAY_ERR_MEDIA_TYPE')
    assertProblem(await call(`${adminUrl}/admin/v1/cache`, 'PATCH', { body: `{"maxBytes":1000,"x":"${'x'.repeat(70_000)}"}` }), 'RELAY_ERR_BODY_TOO_LARGE')
    assert.deepEqual(await cacheStats(adminUrl), before)
  })
})

suite('manifest', () => {
  test('files and manifest of one relay make another one warm, without any origin', async t => {
    const from = await temporaryDirectory(t)
    const to = await temporaryDirectory(t)
    const first = await setup(t, { cache: { path: from } })
    await store(first, ['syn-500-m/shard_0.bin', 'syn-500-m/shard_1.bin', 'syn-500-m/manifest.json'])
    const exported = await call(`${first.adminUrl}/admin/v1/cache/manifest`)
    assert.equal(exported.headers['content-disposition'], 'attachment; filename="cache_manifest.json"')
    const manifest = exported.json() as { version: number, entries: { cid: string, part: unknown, sha256: string }[] }
    assert.equal(manifest.version, 1)
    // From least to most recently used.
    assert.deepEqual(manifest.entries.map(({ cid, part }) => `${cid}/${String(part)}`), ['syn-500-m/0', 'syn-500-m/1', 'syn-500-m/manifest'])

    const second = await setup(t, { cache: { path: to } })
    await until(async () => await cacheStats(second.adminUrl), ({ reconciled }) => reconciled)
    await cp(join(from, 'shards'), join(to, 'shards'), { recursive: true })
    const url = `${second.adminUrl}/admin/v1/cache/manifest`
    const lying = { ...manifest, entries: manifest.entries.map(entry => ({ ...entry, sha256: '0'.repeat(64) })) }
    assert.deepEqual((await call(url, 'POST', { body: lying })).json(), { adopted: 0, known: 0, rejected: 3 })
    assert.deepEqual((await call(url, 'POST', { body: manifest })).json(), { adopted: 3, known: 0, rejected: 0 })
    assert.deepEqual((await call(url, 'POST', { body: manifest })).json(), { adopted: 0, known: 3, rejected: 0 })
    const hit = await call(`${second.viewerUrl}/shards/syn-500-m/shard_1.bin`)
    assert.equal(hit.headers['cache-status'], 'icn-relay; hit')
    assert.deepEqual(hit.body, syntheticShard('syn-500-m', 1))
    assert.equal(second.origin.stats().requests, 0)
  })

  test('an empty cache exports a manifest that can be imported', async t => {
    const { adminUrl } = await setup(t)
    const manifest = (await call(`${adminUrl}/admin/v1/cache/manifest`)).json()
    assert.deepEqual(manifest, { version: 1, entries: [] })
    assert.deepEqual((await call(`${adminUrl}/admin/v1/cache/manifest`, 'POST', { body: manifest })).json(), { adopted: 0, known: 0, rejected: 0 })
  })

  test('a manifest that is malformed anywhere is refused whole', async t => {
    const { adminUrl } = await setup(t)
    const url = `${adminUrl}/admin/v1/cache/manifest`
    const good = { cid: 'a', part: 0, size: 1, sha256: '0'.repeat(64), storedAt: 1, lastAccess: 1, hits: 0, generation: 'a0' }
    for (const body of [{ version: 2, entries: [] }, { version: 1 }, { entries: [] }, { version: 1, entries: {} }, { version: 1, entries: [], extra: 1 }, []]) {
      assertProblem(await call(url, 'POST', { body }), 'RELAY_ERR_BAD_REQUEST', JSON.stringify(body))
    }
    for (const change of [{ cid: '../x' }, { part: 14 }, { part: '0' }, { size: -1 }, { size: 0.5 }, { sha256: 'x' }, { generation: '../../etc/passwd' }, { generation: '' }, { hits: 'x' }, { storedAt: null }]) {
      assertProblem(await call(url, 'POST', { body: { version: 1, entries: [good, { ...good, ...change }] } }), 'RELAY_ERR_MANIFEST', JSON.stringify(change))
    }
  })
})

test('bad input is named: the property nobody knows, what a value may be, the place of what is wrong', async t => {
  const { adminUrl } = await setup(t)
  const cases: [method: Dispatcher.HttpMethod, path: string, body: unknown, detail: RegExp][] = [
    ['PUT', 'bandwidth', { totalBps: 1, toalBps: 2 }, /^body has the unknown property "toalBps"$/],
    ['POST', 'drain', { deadlineMs: 'soon' }, /^body\.deadlineMs must be integer$/],
    ['POST', 'drain', { alternates: ['http://a', 'ftp://b'] }, /^body\.alternates\.1 must match pattern/],
    ['POST', 'upstreams', { region: 'EU-WEST' }, /^body must have required property 'url'$/]
  ]
  for (const [method, path, body, detail] of cases) {
    const answer = await call(`${adminUrl}/admin/v1/${path}`, method, { body })
    assertProblem(answer, 'RELAY_ERR_BAD_REQUEST')
    assert.match(String((answer.json() as { detail: unknown }).detail), detail)
  }
})

test('upstreams tell each super-node with its region and state', async t => {
  const { adminUrl, viewerUrl, origin } = await setup(t, { region: { override: 'NA-WEST' } })
  const upstreams = async () => (await call(`${adminUrl}/admin/v1/upstreams`)).json() as { region: string, nodes: Record<string, unknown>[] }
  await call(`${viewerUrl}/shards/syn-10-up/shard_0.bin`)
  const up = await upstreams()
  assert.equal(up.region, 'NA-WEST')
  assert.equal(up.nodes.length, 1)
  const { latencyMs, connections, p95Ms, ...node } = up.nodes[0] ?? {}
  assert.equal(p95Ms, null, 'too few samples')
  assert.deepEqual(node, { id: new URL(origin.url).host, url: origin.url, region: 'NA-WEST', state: 'up', health: 'up', failures: 0 })
  assert.ok(typeof latencyMs === 'number' && latencyMs > 0)
  assert.deepEqual(Object.keys(connections as object), ['connected', 'free', 'pending', 'queued'])
  await origin.close()
  await call(`${viewerUrl}/shards/syn-10-down/shard_0.bin`)
  const [down] = (await upstreams()).nodes
  assert.equal(down?.['state'], 'up', 'one failure is none')
  assert.ok(Number(down?.['failures']) >= 1)
})

test('super-nodes are drained, added and removed at run time, and it holds over a restart', async t => {
  const second = await startSuperNode({ port: 0, region: 'EU-WEST' })
  t.after(async () => { await second.close() })
  const cachePath = await temporaryDirectory(t)
  const { adminUrl, viewerUrl, origin, relay } = await setup(t, { cache: { path: cachePath } })
  const [first, other] = [new URL(origin.url).host, new URL(second.url).host]
  const url = `${adminUrl}/admin/v1/upstreams`
  const states = (answer: Answer): Record<string, string> => Object.fromEntries((answer.json() as { nodes: { id: string, state: string }[] }).nodes.map(({ id, state }) => [id, state]))
  assertProblem(await call(url, 'POST', { body: { url: second.url, region: 'ATLANTIS' } }), 'RELAY_ERR_BAD_REQUEST')
  assertProblem(await call(url, 'POST', { body: { url: origin.url, region: 'EU-WEST' } }), 'RELAY_ERR_BAD_REQUEST')
  assertProblem(await call(`${url}/${first}`, 'DELETE'), 'RELAY_ERR_BAD_REQUEST', 'the last one stays')
  assertProblem(await call(`${url}/nobody:1`, 'PATCH', { body: { state: 'draining' } }), 'RELAY_ERR_NOT_FOUND')
  assertProblem(await call(`${url}/${first}`, 'PATCH', { body: { state: 'gone' } }), 'RELAY_ERR_BAD_REQUEST')
  assert.deepEqual(states(await call(url, 'POST', { body: { url: second.url, region: 'EU-WEST' } })), { [first]: 'up', [other]: 'up' })
  assert.deepEqual(states(await call(`${url}/${first}`, 'PATCH', { body: { state: 'draining' } })), { [first]: 'draining', [other]: 'up' })
  assert.equal((await call(`${viewerUrl}/shards/syn-10-moved/shard_0.bin`)).status, 200)
  assert.deepEqual([origin.stats().requests, second.stats().requests], [0, 1])
  await relay.close()
  const again = await startRelay(t, [{ url: origin.url, region: origin.region }], { cache: { path: cachePath } })
  assert.deepEqual(states(await call(`${again.adminUrl}/admin/v1/upstreams`)), { [first]: 'draining', [other]: 'up' })
  assert.deepEqual(states(await call(`${again.adminUrl}/admin/v1/upstreams/${first}`, 'DELETE')), { [other]: 'up' })
  assert.deepEqual(states(await call(`${again.adminUrl}/admin/v1/upstreams`, 'POST', { body: { url: origin.url, region: origin.region } })), { [other]: 'up', [first]: 'up' })
})

test('a node that drains is checked all the same and its health told; a disabled one is left alone until it is enabled', async t => {
  const second = await startSuperNode({ port: 0, region: 'EU-WEST' })
  t.after(async () => { await second.close() })
  const { adminUrl, origin } = await setup(t, { upstream: { health_interval_ms: 10, health_timeout_ms: 10_000, backoff_initial_ms: 10, backoff_max_ms: 20, circuit_failures: 2 } })
  const [first, other] = [new URL(origin.url).host, new URL(second.url).host]
  const url = `${adminUrl}/admin/v1/upstreams`
  const checks = (node: SuperNode): number => node.stats().byPath['/health'] ?? 0
  const more = async (node: SuperNode, count: number): Promise<void> => {
    const before = checks(node)
    await until(async () => checks(node), now => now >= before + count)
  }
  const told = async (id: string): Promise<unknown[]> => {
    const { nodes } = (await call(url)).json() as { nodes: { id: string, state: string, health: string | null }[] }
    return nodes.filter(node => node.id === id).map(({ state, health }) => [state, health])
  }
  const change = async (state: string): Promise<void> => { assert.equal((await call(`${url}/${first}`, 'PATCH', { body: { state } })).status, 200) }
  await call(url, 'POST', { body: { url: second.url, region: 'EU-WEST' } })
  await change('draining')
  await more(origin, 3)
  assert.deepEqual(await told(first), [['draining', 'up']])
  origin.setFaults({ status: 500 })
  await until(async () => await told(first), ([state]) => JSON.stringify(state) === '["draining","open"]')
  await change('disabled')
  assert.deepEqual(await told(first), [['disabled', null]])
  // One that was on its way may still arrive.
  await more(second, 3)
  const atRest = checks(origin)
  await more(second, 10)
  assert.equal(checks(origin), atRest)
  origin.setFaults({})
  await change('enabled')
  await until(async () => await told(first), ([state]) => JSON.stringify(state) === '["up","up"]')
  assert.deepEqual(await told(other), [['up', 'up']])
})

suite('access', () => {
  const ROUTES: [method: Dispatcher.HttpMethod, path: string, scope: 'read' | 'write'][] = [
    ['GET', '/cache', 'read'], ['PATCH', '/cache', 'write'], ['GET', '/cache/shards', 'read'], ['GET', '/cache/shards/a/0', 'read'], ['DELETE', '/cache/shards/a/0', 'write'],
    ['DELETE', '/cache/shards/a', 'write'], ['DELETE', '/cache/shards?confirm=all', 'write'], ['GET', '/cache/manifest', 'read'], ['POST', '/cache/manifest', 'write'], ['GET', '/upstreams', 'read'], ['POST', '/upstreams', 'write'],
    ['POST', '/upstreams/resolve', 'write'], ['PATCH', '/upstreams/x:1', 'write'], ['DELETE', '/upstreams/x:1', 'write'],
    ['GET', '/region', 'read'], ['PUT', '/region', 'write'], ['POST', '/region/detect', 'write']
  ]
  const TOKENS = [{ token: 'reader-reader-reader', scope: 'read' }, { token: 'writer-writer-writer', scope: 'write' }]

  test('every route asks for a token, and every route that changes something for one that may write', async t => {
    const { adminUrl } = await setup(t, { admin: { tokens: TOKENS } })
    for (const [method, path, scope] of ROUTES) {
      const url = `${adminUrl}/admin/v1${path}`
      for (const headers of [{}, { authorization: 'Bearer wrong-wrong-wrong-wrong' }, { authorization: 'Basic d3JpdGVyOndyaXRlcg==' }]) {
        const answer = await call(url, method, { headers })
        assertProblem(answer, 'RELAY_ERR_ADMIN_UNAUTHORIZED', `${method} ${path}`)
        assert.equal(answer.headers['www-authenticate'], 'Bearer')
      }
      const read = await call(url, method, { headers: { authorization: 'Bearer reader-reader-reader' } })
      if (scope === 'write') assertProblem(read, 'RELAY_ERR_ADMIN_SCOPE', `${method} ${path}`)
      else assert.ok(read.status === 200 || read.status === 404, `${method} ${path}: ${read.status}`)
      const write = await call(url, method, { headers: { authorization: 'Bearer writer-writer-writer' } })
      assert.ok([200, 400, 404].includes(write.status), `${method} ${path}: ${write.status}`)
    }
  })

  test('a body is not read before the token is checked', async t => {
    const { adminUrl } = await setup(t, { admin: { tokens: TOKENS } })
    assertProblem(await call(`${adminUrl}/admin/v1/cache`, 'PATCH', { body: '{"broken' }), 'RELAY_ERR_ADMIN_UNAUTHORIZED')
  })

  test('without tokens the API answers to localhost, and not to a web page under another name', async t => {
    const { adminUrl } = await setup(t)
    for (const [method, path] of ROUTES) {
      for (const headers of [{ host: 'evil.example' }, { host: 'evil.example:9103' }, { origin: 'https://evil.example' }, { origin: 'null' }]) {
        assertProblem(await call(`${adminUrl}/admin/v1${path}`, method, { headers }), 'RELAY_ERR_ADMIN_LOOPBACK', `${method} ${path} ${JSON.stringify(headers)}`)
      }
    }
    const { port } = new URL(adminUrl)
    for (const headers of [{ host: `localhost:${port}` }, { host: `[::1]:${port}` }, { host: `localhost:${port}`, origin: `http://localhost:${port}` }]) {
      assert.equal((await call(`${adminUrl}/admin/v1/cache`, 'GET', { headers })).status, 200, JSON.stringify(headers))
    }
  })

  test('health, readiness and metrics need no token', async t => {
    const { adminUrl } = await setup(t, { admin: { tokens: TOKENS } })
    for (const path of ['/health', '/ready', '/metrics']) assert.equal((await call(adminUrl + path)).status, 200, path)
  })
})

suite('rate limit', () => {
  test('more requests than allowed are refused with 429 and a time to come back; health and metrics are not limited', async t => {
    const { adminUrl } = await setup(t, { admin: { requests_per_minute: 5 } })
    for (let n = 0; n < 5; n++) assert.equal((await call(`${adminUrl}/admin/v1/${n % 2 === 0 ? 'cache' : 'upstreams'}`)).status, 200)
    const refused = await call(`${adminUrl}/admin/v1/cache`)
    assertProblem(refused, 'RELAY_ERR_RATE_LIMITED')
    const wait = Number(refused.headers['retry-after'])
    assert.ok(wait > 0 && wait <= 60)
    for (let n = 0; n < 10; n++) assert.equal((await call(`${adminUrl}/health`)).status, 200)
    assert.equal((await call(`${adminUrl}/metrics`)).status, 200)
  })

  test('guesses at a token are limited as well', async t => {
    const { adminUrl } = await setup(t, { admin: { requests_per_minute: 5, tokens: [{ token: 'right-right-right', scope: 'read' }] } })
    for (let n = 0; n < 5; n++) assertProblem(await call(`${adminUrl}/admin/v1/cache`, 'GET', { headers: { authorization: `Bearer guess-guess-guess-${n}` } }), 'RELAY_ERR_ADMIN_UNAUTHORIZED')
    assertProblem(await call(`${adminUrl}/admin/v1/cache`, 'GET', { headers: { authorization: 'Bearer guess-guess-guess-6' } }), 'RELAY_ERR_RATE_LIMITED')
  })
})

suite('health and readiness', () => {
  test('health keeps the names of the earlier version', async t => {
    const running = await setup(t)
    await store(running, ['syn-777-h/shard_0.bin'])
    const health = (await call(`${running.adminUrl}/health`)).json() as Record<string, unknown>
    assert.equal(health['status'], 'ok')
    assert.equal(health['cache_size_bytes'], 777)
    assert.ok(Number(health['viewer_connections']) >= 1)
    assert.match(String(health['version']), /^\d+\.\d+\.\d+/)
    assert.ok(Number.isInteger(health['uptime_seconds']))
    const headOnly = await call(`${running.adminUrl}/health`, 'HEAD')
    assert.deepEqual([headOnly.status, headOnly.body.length], [200, 0])
  })

  test('a relay whose super-nodes are down is ready: hits need none of them', async t => {
    const { adminUrl, viewerUrl, origin } = await setup(t, { upstream: { circuit_failures: 1 } })
    await until(async () => await cacheStats(adminUrl), ({ reconciled }) => reconciled)
    const ready = async () => await call(`${adminUrl}/ready`)
    assert.deepEqual((await ready()).json(), { ready: true, checks: { viewer: 'listening', cache: 'ok', upstream: 'ok', overload: 'normal' } })
    await origin.close()
    await call(`${viewerUrl}/shards/syn-10-x/shard_0.bin`)
    const down = await ready()
    assert.equal(down.status, 200)
    assert.deepEqual(down.json(), { ready: true, checks: { viewer: 'listening', cache: 'ok', upstream: 'down', overload: 'normal' } })
  })

  test('one super-node of two down is degraded', async t => {
    const [one, two] = [await startSuperNode({ port: 0 }), await startSuperNode({ port: 0 })]
    t.after(async () => { await Promise.all([one.close(), two.close()]) })
    const { adminUrl, viewerUrl } = await startRelay(t, [{ url: one.url, region: 'APAC' }, { url: two.url, region: 'MENA' }], { region: { override: 'APAC' }, upstream: { circuit_failures: 1 } })
    await one.close()
    assert.equal((await call(`${viewerUrl}/shards/syn-10-x/shard_0.bin`)).status, 200)
    const { checks } = (await call(`${adminUrl}/ready`)).json() as { checks: { upstream: string } }
    assert.equal(checks.upstream, 'degraded')
  })

  test('while responses in flight finish, the relay is not ready and says it is stopping', async t => {
    const { adminUrl, viewerUrl, relay } = await setup(t, { viewer: { stop_timeout_ms: 10_000 }, upstream: { first_byte_timeout_ms: 5_000 } }, { match: 'slow', latencyMs: 700 })
    const inFlight = call(`${viewerUrl}/shards/syn-10-slow/shard_0.bin`)
    await until(async () => relay.admin.shards.fills, fills => fills === 1)
    const closed = relay.close()
    const ready = await call(`${adminUrl}/ready`)
    assert.equal(ready.status, 503)
    assert.deepEqual((ready.json() as { ready: boolean, checks: { viewer: string } }).checks.viewer, 'closed')
    assert.equal(((await call(`${adminUrl}/health`)).json() as { status: string }).status, 'stopping')
    assert.deepEqual((await inFlight).body, syntheticShard('syn-10-slow', 0))
    await closed
  })
})

test('metrics are served as the text format, with help for every name', async t => {
  const { adminUrl } = await setup(t)
  const answer = await call(`${adminUrl}/metrics`)
  assert.match(String(answer.headers['content-type']), /^text\/plain; version=0\.0\.4/)
  for (const name of Object.keys(METRICS)) assert.ok(answer.body.includes(`# HELP ${name} `), name)
})

suite('pages of other programs on this machine', () => {
  const raw = (method: string, target: string, ...fields: string[]): string => `${method} ${target} HTTP/1.1\r\nhost: localhost\r\n${fields.map(field => `${field}\r\n`).join('')}\r\n`
  const DEAD_NODE = { url: 'http://127.0.0.1:9', region: 'APAC' }
  const WRITES = [['POST', '/region/detect'], ['POST', '/upstreams/resolve'], ['DELETE', '/cache/shards/a'], ['DELETE', '/drain']] as const

  test('what a page may send without asking changes nothing', async t => {
    const { adminUrl } = await startRelay(t, [DEAD_NODE])
    for (const [method, path] of WRITES) {
      const target = `/admin/v1${path}`
      for (const fields of [[], ['origin: http://localhost:3000'], ['origin: http://localhost:3000', 'content-type: application/json'], ['sec-fetch-site: same-site', 'x-requested-with: x'], ['origin: null', 'x-requested-with: x']]) {
        const answer = await exchange(adminUrl, raw(method, target, ...fields))
        assertProblem(answer, 'RELAY_ERR_ADMIN_LOOPBACK', `${method} ${path} ${fields.join()}`)
      }
      for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data']) {
        assertProblem(await exchange(adminUrl, raw(method, target, `content-type: ${type}`, 'content-length: 0')), 'RELAY_ERR_MEDIA_TYPE', `${method} ${path} ${type}`)
      }
    }
  })

  test('an operator adds a header or a content type, with or without a body', async t => {
    const { adminUrl } = await startRelay(t, [DEAD_NODE])
    for (const [method, path] of WRITES.slice(0, 3)) {
      for (const fields of [['x-requested-with: curl'], ['content-type: application/json'], ['content-type: application/json', 'content-length: 0'], ['content-type: application/json', 'sec-fetch-site: same-origin', 'origin: http://localhost']]) {
        assert.equal((await exchange(adminUrl, raw(method, `/admin/v1${path}`, ...fields)))?.status, 200, `${method} ${path} ${fields.join()}`)
      }
    }
  })
})
