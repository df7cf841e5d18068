import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { before, suite, test, type TestContext } from 'node:test'
import createClient, { type Client, type Middleware } from 'openapi-fetch'
import { parse } from 'yaml'
import { startSuperNode } from '../../demo/super-node/server.ts'
import type { OpenApiDocument } from '../../scripts/openapi-document.ts'
import { TYPES_FILE, typesText } from '../../scripts/openapi-types.ts'
import { until } from '../../tools/harness/http.ts'
import { startRelay } from '../../tools/harness/relay.ts'
import type { components, paths } from '../support/openapi-types.d.ts'

const FILE = new URL('../../openapi.yaml', import.meta.url)

const CID = 'syn-100-client'
const OTHER = 'syn-100-other'
const TOKEN = 'writer-writer-writer'

interface Clients {
  readonly admin: Client<paths>
  readonly viewer: Client<paths>
  /** `METHOD /path` of the document for each operation that was called, with the statuses it was answered with. */
  readonly called: Map<string, number[]>
}

/** Clients of both listeners as a reader of `openapi.yaml` makes them: only the headers of the security schemes are added. */
async function startClients (t: TestContext, settings: Record<string, Record<string, unknown>>, headers: Record<string, string>): Promise<Clients & { readonly region: string }> {
  const node = await startSuperNode({ port: 0 })
  t.after(async () => { await node.close() })
  const { adminUrl, viewerUrl } = await startRelay(t, [{ url: node.url, region: node.region }], { transport: { engine: 'quinn' }, viewer: { player: true }, usage: { enabled: true }, cache: { integrity: 'manifest' }, ...settings })
  const called = new Map<string, number[]>()
  const record: Middleware = {
    onResponse: ({ request, response, schemaPath }) => {
      const operation = `${request.method} ${schemaPath}`
      called.set(operation, [...called.get(operation) ?? [], response.status])
    }
  }
  const admin = createClient<paths>({ baseUrl: adminUrl, headers })
  const viewer = createClient<paths>({ baseUrl: viewerUrl })
  admin.use(record)
  viewer.use(record)
  return { admin, viewer, called, region: node.region }
}

/** What came, when it is what the operation gives. */
function given<T> ({ data, error, response }: { data?: T, error?: unknown, response: Response }): NonNullable<T> {
  assert.equal(error, undefined, `${response.url}: ${JSON.stringify(error)}`)
  assert.ok(response.ok, `${response.url} ${response.status}`)
  assert.ok(data !== undefined && data !== null, response.url)
  return data
}

async function callViewerRoutes ({ viewer }: Clients): Promise<void> {
  const shard = await viewer.GET('/shards/{cid}/shard_{n}.bin', { params: { path: { cid: CID, n: '3' }, header: { range: 'bytes=0-9' } }, parseAs: 'arrayBuffer' })
  assert.equal(given(shard).byteLength, 10)
  assert.equal((await viewer.GET('/shards/{cid}/shard_{n}.bin', { params: { path: { cid: OTHER, n: '0' } }, parseAs: 'arrayBuffer' })).response.status, 200)
  assert.equal((await viewer.HEAD('/shards/{cid}/shard_{n}.bin', { params: { path: { cid: CID, n: '3' } } })).response.status, 200)
  assert.ok(Object.keys(given(await viewer.GET('/shards/{cid}/manifest.json', { params: { path: { cid: CID } } }))).length > 0)
  assert.equal((await viewer.HEAD('/shards/{cid}/manifest.json', { params: { path: { cid: CID } } })).response.status, 200)
  assert.ok(URL.canParse(given(await viewer.GET('/v1/transport', { params: { query: { ticket: 'none' } } })).http.url))
  assert.match(given(await viewer.GET('/player/index.html', { parseAs: 'text' })), /<html/i)
  const redirect = await viewer.GET('/', { redirect: 'manual' })
  assert.equal(redirect.response.status, 302)
  assert.equal((await viewer.GET('/player', { redirect: 'manual' })).response.status, 302)
  // Objects are stored beside their answers.
  await until(async () => given(await viewer.GET('/player/recent')).videos.length, count => count > 0)
}

async function callObservability ({ admin }: Clients): Promise<void> {
  assert.match(given(await admin.GET('/metrics', { parseAs: 'text' })), /^icn_relay_/m)
  assert.equal(given(await admin.GET('/health')).status, 'ok')
  assert.equal(given(await admin.GET('/ready')).ready, true)
  assert.equal(given(await admin.GET('/admin/v1/summary')).readiness.ready, true)
  assert.match(given(await admin.GET('/index.html', { parseAs: 'text' })), /<html/i)
}

async function callCacheRoutes ({ admin }: Clients): Promise<void> {
  // A viewer has the whole object a moment before it is stored.
  const { disk } = await until(async () => given(await admin.GET('/admin/v1/cache')), ({ fills }) => fills === 0)
  assert.equal(disk.entries, 3)
  assert.equal(given(await admin.PATCH('/admin/v1/cache', { body: { ramBytes: 1_000_000 } })).ramBytes, 1_000_000)
  const page = given(await admin.GET('/admin/v1/cache/shards', { params: { query: { cid: CID } } }))
  assert.deepEqual(page.entries.map(({ part }) => part), [3, 'manifest'])
  const entry: components['schemas']['Entry'] = given(await admin.GET('/admin/v1/cache/shards/{cid}/{part}', { params: { path: { cid: CID, part: '3' } } }))
  assert.equal(entry.size, 100)
  const manifest = given(await admin.GET('/admin/v1/cache/manifest'))
  assert.equal(manifest.entries.length, 3)
  assert.deepEqual(given(await admin.POST('/admin/v1/cache/manifest', { body: manifest })), { adopted: 0, known: 3, rejected: 0 })
  assert.equal(given(await admin.DELETE('/admin/v1/cache/shards/{cid}/{part}', { params: { path: { cid: CID, part: '3' } } })).purged, 1)
  assert.equal(given(await admin.DELETE('/admin/v1/cache/shards/{cid}', { params: { path: { cid: CID } } })).purged, 1)
  assert.equal(given(await admin.PUT('/admin/v1/cache/pins/{cid}', { params: { path: { cid: 'none' } }, body: { ttlMs: 60_000 } })).objects, 0)
  assert.deepEqual(given(await admin.GET('/admin/v1/cache/pins')).pins.map(({ cid }) => cid), ['none'])
  assert.equal(given(await admin.DELETE('/admin/v1/cache/pins/{cid}', { params: { path: { cid: 'none' } } })).removed, true)
  assert.equal(given(await admin.POST('/admin/v1/cache/purge', { body: { prefix: 'none-*' } })).purged, 0)
  assert.equal(given(await admin.DELETE('/admin/v1/cache/shards', { params: { query: { confirm: 'all' } } })).purged, 1)
}

async function callUpstreamRoutes ({ admin }: Clients): Promise<void> {
  assert.equal(given(await admin.GET('/admin/v1/upstreams')).nodes.length, 1)
  assert.equal(given(await admin.POST('/admin/v1/upstreams', { body: { url: 'http://127.0.0.1:9', region: 'LATAM' } })).nodes.length, 2)
  assert.equal(given(await admin.POST('/admin/v1/upstreams/resolve')).nodes.length, 2)
  const drained = given(await admin.PATCH('/admin/v1/upstreams/{id}', { params: { path: { id: '127.0.0.1:9' } }, body: { state: 'draining' } }))
  assert.equal(drained.nodes.find(({ id }) => id === '127.0.0.1:9')?.state, 'draining')
  assert.equal(given(await admin.DELETE('/admin/v1/upstreams/{id}', { params: { path: { id: '127.0.0.1:9' } } })).nodes.length, 1)
}

async function callSettingRoutes ({ admin }: Clients, region: string): Promise<void> {
  assert.equal(given(await admin.PUT('/admin/v1/region', { body: { override: region } })).current, region)
  assert.equal(given(await admin.GET('/admin/v1/region')).override, region)
  assert.equal(given(await admin.POST('/admin/v1/region/detect')).nodes.length, 1)
  assert.equal(given(await admin.PUT('/admin/v1/limits', { body: { trackedIps: 1_234 } })).limits.trackedIps, 1_234)
  assert.equal(given(await admin.GET('/admin/v1/limits')).limits.trackedIps, 1_234)
  assert.equal(given(await admin.PUT('/admin/v1/bandwidth', { body: { totalBps: 500_000_000 } })).totalBps, 500_000_000)
  assert.equal(given(await admin.GET('/admin/v1/bandwidth', { params: { query: { limit: 10 } } })).totalBps, 500_000_000)
  assert.equal(given(await admin.PUT('/admin/v1/overload', { body: { override: 'degraded' } })).state, 'degraded')
  assert.equal(given(await admin.GET('/admin/v1/overload')).override, 'degraded')
  // Warm jobs wait for that.
  assert.equal(given(await admin.PUT('/admin/v1/overload', { body: { override: 'auto' } })).override, null)
}

async function callConfigRoutes ({ admin }: Clients): Promise<void> {
  assert.equal(given(await admin.GET('/admin/v1/config')).keys['limits.tracked_ips']?.source, 'api')
  assert.deepEqual(given(await admin.POST('/admin/v1/config/reload')).changed, [])
  assert.equal(given(await admin.DELETE('/admin/v1/config/overrides/{key}', { params: { path: { key: 'limits.tracked_ips' } } })).changed[0]?.before, 1_234)
  assert.deepEqual(given(await admin.DELETE('/admin/v1/config/overrides')).changed.map(({ key }) => key).sort(), ['bandwidth.total_bps', 'cache.ram_bytes', 'region.override'])
}

async function callIntegrityRoutes ({ admin }: Clients): Promise<void> {
  assert.deepEqual(given(await admin.GET('/admin/v1/integrity')).evidence, [])
  assert.deepEqual(given(await admin.GET('/admin/v1/usage', { params: { query: { limit: 1 } } })).missed, 0)
  assert.equal(given(await admin.GET('/admin/v1/p2p')).enabled, false)
  assert.equal(given(await admin.POST('/admin/v1/scrub', { body: { action: 'pause' } })).status, 'paused')
  assert.equal(given(await admin.GET('/admin/v1/scrub')).status, 'paused')
  assert.ok(given(await admin.GET('/admin/v1/cache/curve')).points.length > 0)
  assert.ok(given(await admin.GET('/admin/v1/audit', { params: { query: { limit: 1 } } })).records.length === 1)
  const job = given(await admin.POST('/admin/v1/jobs', { body: { type: 'repair', cid: CID } }))
  assert.equal(given(await admin.GET('/admin/v1/jobs/{id}', { params: { path: { id: job.id } } })).type, 'repair')
  const { id } = given(await admin.POST('/admin/v1/jobs', { body: { type: 'warm', shards: [{ cid: 'none', part: 0 }] } }))
  const path = { params: { path: { id } } }
  const events = String(given(await admin.GET('/admin/v1/jobs/{id}/events', { ...path, parseAs: 'text' })))
  assert.match(events, /event: end\ndata: .*"failed":1/)
  assert.equal(given(await admin.POST('/admin/v1/jobs/{id}/retry', path)).id, id)
  assert.equal(given(await admin.POST('/admin/v1/jobs/{id}/cancel', path)).id, id)
  assert.equal(given(await admin.GET('/admin/v1/jobs')).jobs.length, 2)
}

async function callLogRoutes ({ admin }: Clients): Promise<void> {
  const leave = new AbortController()
  given(await admin.GET('/admin/v1/log/stream', { params: { query: { status: '5xx', slowerThanMs: 60_000 } }, parseAs: 'stream', signal: leave.signal }))
  assert.equal(given(await admin.GET('/admin/v1/log')).listeners, 1)
  leave.abort()
  assert.equal(given(await admin.PATCH('/admin/v1/log', { body: { sampleHits: 0.5 } })).sampleHits, 0.5)
}

async function callDenylistRoutes ({ admin }: Clients): Promise<void> {
  assert.equal(given(await admin.POST('/admin/v1/denylist/entries', { body: { entries: ['QmDenied', 'tv-*'] } })).added, 2)
  assert.deepEqual(given(await admin.GET('/admin/v1/denylist/cids/{cid}', { params: { path: { cid: 'tv-news' } } })), { denied: true, sources: ['own'] })
  assert.equal(given(await admin.DELETE('/admin/v1/denylist/entries/{entry}', { params: { path: { entry: 'tv-*' } } })).removed, true)
  assert.equal(given(await admin.GET('/admin/v1/denylist')).entries, 1)
  assert.deepEqual(given(await admin.POST('/admin/v1/denylist/reload')).own.map(({ entry }) => entry), ['QmDenied'])
}

async function callViewersRoutes ({ admin }: Clients): Promise<void> {
  assert.deepEqual(given(await admin.GET('/admin/v1/viewers')).viewers, [])
  const nobody = await admin.DELETE('/admin/v1/viewers/{id}', { params: { path: { id: 'nobody' } } })
  assert.equal(nobody.error?.code, 'RELAY_ERR_NOT_FOUND')
  assert.equal(nobody.response.status, 404)
  // Without `alternates`, which has a default.
  assert.equal(given(await admin.POST('/admin/v1/drain', { body: { deadlineMs: 10 } })).draining, true)
  assert.equal(given(await admin.DELETE('/admin/v1/drain')).draining, false)
}

suite('a client generated from openapi.yaml', () => {
  let operations: string[]

  before(async () => {
    const { paths: described } = parse(await readFile(FILE, 'utf8')) as OpenApiDocument
    operations = Object.entries(described).flatMap(([path, { servers: _servers, ...methods }]) => Object.keys(methods).map(method => `${method.toUpperCase()} ${path}`))
  })

  test('its types are those of the document; otherwise run `npm run openapi`', { timeout: 240_000 }, async () => {
    const document = parse(await readFile(FILE, 'utf8')) as OpenApiDocument
    assert.equal(await readFile(TYPES_FILE, 'utf8'), await typesText(document))
  })

  const relays = {
    'a relay with admin tokens': { settings: { admin: { tokens: [{ token: TOKEN, scope: 'write' }] } }, headers: { authorization: `Bearer ${TOKEN}` } },
    'a relay without admin tokens': { settings: {}, headers: { 'x-requested-with': 'openapi-fetch' } }
  } as const
  for (const [name, { settings, headers }] of Object.entries(relays)) {
    test(`calls every operation of ${name}`, { timeout: 240_000 }, async t => {
      const clients = await startClients(t, settings, headers)
      await callViewerRoutes(clients)
      await callObservability(clients)
      await callCacheRoutes(clients)
      await callUpstreamRoutes(clients)
      await callSettingRoutes(clients, clients.region)
      await callConfigRoutes(clients)
      await callIntegrityRoutes(clients)
      await callDenylistRoutes(clients)
      await callLogRoutes(clients)
      await callViewersRoutes(clients)
      assert.deepEqual([...clients.called.keys()].sort(), operations.toSorted())
      const refused = [...clients.called].filter(([, statuses]) => statuses.some(status => status >= 400)).map(([operation]) => operation)
      assert.deepEqual(refused, ['DELETE /admin/v1/viewers/{id}'])
    })
  }
})
