import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { before, suite, test } from 'node:test'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { request } from 'undici'
import { parse } from 'yaml'
import { startSuperNode, type SuperNode } from '../../demo/super-node/server.ts'
import { buildDocument, documentText, type OpenApiDocument, type Operation, type RegisteredRoute } from '../../scripts/openapi-document.ts'
import { cacheStats, until } from '../../tools/harness/http.ts'
import { startRelay, type RunningRelay } from '../../tools/harness/relay.ts'

const FILE = new URL('../../openapi.yaml', import.meta.url)

function operations (document: OpenApiDocument): { id: string, method: string, path: string, operation: Operation }[] {
  return Object.entries(document.paths).flatMap(([path, { servers: _servers, ...methods }]) =>
    Object.entries(methods).map(([method, operation]) => ({ id: `${method.toUpperCase()} ${path}`, method, path, operation })))
}

suite('openapi.yaml', () => {
  let text: string
  let document: OpenApiDocument
  let generated: OpenApiDocument
  let routes: RegisteredRoute[]

  before(async () => {
    text = await readFile(FILE, 'utf8')
    document = parse(text) as OpenApiDocument
    const built = await buildDocument()
    generated = built.document
    routes = built.routes
  })

  test('the file is what the routes say; otherwise run `npm run openapi`', () => {
    assert.equal(text, documentText(generated))
  })

  test('every route is in the document', () => {
    // The files of the player page stand behind /player/.
    const missing = routes.filter(route => !route.documented && !route.url.startsWith('/player/') && !route.method.includes('OPTIONS'))
    assert.deepEqual(missing, [])
    assert.ok(routes.length >= 14)
    const paths = Object.keys(document.paths)
    for (const path of ['/shards/{cid}/shard_{n}.bin', '/shards/{cid}/manifest.json', '/player/index.html', '/v1/transport', '/health', '/ready', '/metrics', '/admin/v1/cache']) assert.ok(paths.includes(path), path)
  })

  test('every operation has an id of its own, which names its function in generated clients', () => {
    const ids = operations(document).map(({ operation }) => operation.operationId ?? '')
    assert.ok(ids.length >= 37)
    assert.deepEqual(ids.filter(id => !/^[a-z]+(?:[A-Z][a-z]+)*$/.test(id)), [])
    assert.equal(new Set(ids).size, ids.length)
  })

  test('what has a default need not be sent', () => {
    const needless = operations(document).flatMap(({ id, operation }) => [
      ...(operation.parameters ?? []).filter(({ required, schema }) => required === true && schema['default'] !== undefined).map(({ name }) => `${id} ${name}`),
      ...Object.values(operation.requestBody?.content ?? {}).flatMap(({ schema }) => {
        const { required = [], properties = {} } = schema as { required?: string[], properties?: Record<string, { default?: unknown }> }
        return required.filter(name => properties[name]?.default !== undefined).map(name => `${id} ${name}`)
      })
    ])
    assert.deepEqual(needless, [])
  })

  test('every operation has a summary, declared tags, its path parameters and described responses', () => {
    const tags = (document as unknown as { tags: { name: string }[] }).tags.map(tag => tag.name)
    for (const { id, path, operation } of operations(document)) {
      assert.ok((operation.summary ?? '').length > 5, id)
      assert.ok(operation.tags !== undefined && operation.tags.length > 0 && operation.tags.every(tag => tags.includes(tag)), id)
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(match => match[1])
      assert.deepEqual((operation.parameters ?? []).filter(parameter => parameter.in === 'path').map(parameter => parameter.name).sort(), inPath.sort(), id)
      assert.ok(Object.keys(operation.responses).length > 0, id)
      for (const [status, { description }] of Object.entries(operation.responses)) assert.ok(description.length > 1 && description !== 'Default Response', `${id} ${status}`)
    }
  })

  test('every reference leads somewhere, and every component is referred to', () => {
    const used = new Set([...text.matchAll(/\$ref: "#\/components\/schemas\/(\w+)"/g)].map(match => match[1]))
    assert.deepEqual([...used].sort(), Object.keys(document.components.schemas).sort())
  })

  test('admin routes ask for a token with the scope they need, objects for one of a viewer, the others for none', () => {
    const schemes = Object.keys(document.components.securitySchemes)
    for (const { id, method, path, operation } of operations(document)) {
      const expected = path.startsWith('/admin/v1')
        ? method === 'get' ? [{ adminRead: [] }, {}] : [{ [/^purge/.test(operation.operationId ?? '') ? 'adminPurge' : 'adminWrite']: [] }, operation.requestBody === undefined ? { requestedWith: [] } : {}]
        : path.startsWith('/shards/') ? [{ viewerToken: [] }, { viewerTokenInQuery: [] }, { signedUrl: [] }, {}] : []
      assert.deepEqual(operation.security, expected, id)
      for (const name of operation.security?.flatMap(entry => Object.keys(entry)) ?? []) assert.ok(schemes.includes(name), `${id} ${name}`)
    }
  })
})

interface Call {
  readonly operation: string
  readonly target: string
  readonly status: number
  readonly headers?: Record<string, string>
  readonly body?: unknown
}

const TOKENS = [{ token: 'reader-reader-reader', scope: 'read' }, { token: 'writer-writer-writer', scope: 'write' }]
const AS_READER = { authorization: 'Bearer reader-reader-reader' }
const AS_WRITER = { authorization: 'Bearer writer-writer-writer' }

const SHARD = 'GET /shards/{cid}/shard_{n}.bin'
const MANIFEST = 'GET /shards/{cid}/manifest.json'
const ONE = '/admin/v1/cache/shards/{cid}/{part}'
const MANY = '/admin/v1/cache/shards/{cid}'

/** In order: what the first calls store, the later ones find. */
const CALLS: Call[] = [
  { operation: SHARD, target: '/shards/syn-100-api/shard_3.bin', status: 200 },
  { operation: SHARD, target: '/shards/syn-100-api/shard_3.bin', status: 200 },
  { operation: SHARD, target: '/shards/syn-100-api/shard_3.bin', status: 206, headers: { range: 'bytes=0-9' } },
  { operation: SHARD, target: '/shards/syn-100-api/shard_3.bin', status: 304, headers: { 'if-none-match': '*' } },
  { operation: SHARD, target: '/shards/syn-100-api/shard_14.bin', status: 400 },
  { operation: SHARD, target: '/shards/none/shard_0.bin', status: 404 },
  { operation: SHARD, target: '/shards/syn-100-api/shard_3.bin', status: 416, headers: { range: 'bytes=100-' } },
  { operation: SHARD, target: '/shards/syn-100-status/shard_0.bin', status: 502 },
  { operation: SHARD, target: '/shards/syn-100-hang/shard_0.bin', status: 504 },
  { operation: SHARD, target: '/shards/syn-100-api/shard_3.bin', status: 508, headers: { via: '1.1 a, 1.1 b, 1.1 c, 1.1 d' } },
  { operation: 'HEAD /shards/{cid}/shard_{n}.bin', target: '/shards/syn-100-api/shard_3.bin', status: 200 },
  { operation: MANIFEST, target: '/shards/syn-100-api/manifest.json', status: 200 },
  { operation: MANIFEST, target: '/shards/none/manifest.json', status: 404 },
  { operation: 'HEAD /shards/{cid}/manifest.json', target: '/shards/syn-100-api/manifest.json', status: 200 },
  { operation: 'GET /', target: '/', status: 302 },
  { operation: 'GET /', target: '/', status: 400, headers: { host: 'a b' } },
  { operation: 'GET /player', target: '/player', status: 302 },
  { operation: 'GET /player/recent', target: '/player/recent', status: 200 },
  { operation: 'GET /player/index.html', target: '/player/index.html', status: 200 },
  { operation: 'GET /player/index.html', target: '/player/', status: 200 },
  { operation: 'GET /player/index.html', target: '/player/none', status: 404 },
  { operation: 'GET /v1/transport', target: '/v1/transport', status: 200 },
  { operation: 'GET /v1/transport', target: '/v1/transport?ticket=some', status: 400 },
  { operation: 'GET /admin/v1/viewers', target: '/admin/v1/viewers', status: 200, headers: AS_READER },
  { operation: 'GET /admin/v1/viewers', target: '/admin/v1/viewers', status: 401 },
  { operation: 'DELETE /admin/v1/viewers/{id}', target: '/admin/v1/viewers/nobody', status: 404, headers: AS_WRITER },
  { operation: 'POST /admin/v1/drain', target: '/admin/v1/drain', status: 202, headers: AS_WRITER, body: { deadlineMs: 10 } },
  { operation: 'POST /admin/v1/drain', target: '/admin/v1/drain', status: 403, headers: AS_READER, body: { deadlineMs: 10 } },
  { operation: 'DELETE /admin/v1/drain', target: '/admin/v1/drain', status: 200, headers: AS_WRITER },
  { operation: 'PUT /admin/v1/cache/pins/{cid}', target: '/admin/v1/cache/pins/none', status: 200, headers: AS_WRITER, body: {} },
  { operation: 'PUT /admin/v1/cache/pins/{cid}', target: '/admin/v1/cache/pins/none', status: 400, headers: AS_WRITER, body: { expiresAt: 1 } },
  { operation: 'GET /admin/v1/cache/pins', target: '/admin/v1/cache/pins', status: 200, headers: AS_READER },
  { operation: 'DELETE /admin/v1/cache/pins/{cid}', target: '/admin/v1/cache/pins/none', status: 200, headers: AS_WRITER },
  { operation: 'DELETE /admin/v1/cache/pins/{cid}', target: '/admin/v1/cache/pins/none', status: 404, headers: AS_WRITER },
  { operation: 'POST /admin/v1/cache/purge', target: '/admin/v1/cache/purge', status: 200, headers: AS_WRITER, body: { cids: ['none'] } },
  { operation: 'POST /admin/v1/cache/purge', target: '/admin/v1/cache/purge', status: 400, headers: AS_WRITER, body: { cids: ['none'], all: true } },
  { operation: 'POST /admin/v1/cache/purge', target: '/admin/v1/cache/purge', status: 403, headers: AS_READER, body: { tag: 'none' } },
  { operation: 'GET /metrics', target: '/metrics', status: 200 },
  { operation: 'GET /metrics', target: '/metrics', status: 400, headers: { host: 'a b' } },
  { operation: 'GET /metrics', target: '/metrics', status: 403, headers: { host: 'evil.example' } },
  { operation: 'GET /health', target: '/health', status: 200 },
  { operation: 'GET /health', target: '/health', status: 400, headers: { host: 'a b' } },
  { operation: 'GET /health', target: '/health', status: 403, headers: { host: 'evil.example' } },
  { operation: 'GET /ready', target: '/ready', status: 400, headers: { host: 'a b' } },
  { operation: 'GET /ready', target: '/ready', status: 403, headers: { host: 'evil.example' } },
  { operation: 'GET /ready', target: '/ready', status: 200 },
  { operation: 'GET /admin/v1/overload', target: '/admin/v1/overload', status: 200, headers: AS_READER },
  { operation: 'GET /admin/v1/overload', target: '/admin/v1/overload', status: 401 },
  { operation: 'PUT /admin/v1/overload', target: '/admin/v1/overload', status: 200, headers: AS_WRITER, body: { override: 'shedding' } },
  { operation: 'PUT /admin/v1/overload', target: '/admin/v1/overload', status: 403, headers: AS_READER, body: { override: 'normal' } },
  { operation: 'PUT /admin/v1/overload', target: '/admin/v1/overload', status: 400, headers: AS_WRITER, body: { override: 'panic' } },
  { operation: SHARD, target: '/shards/syn-100-shed/shard_0.bin', status: 503 },
  { operation: 'GET /v1/transport', target: '/v1/transport', status: 200 },
  { operation: 'GET /ready', target: '/ready', status: 503 },
  { operation: 'PUT /admin/v1/overload', target: '/admin/v1/overload', status: 200, headers: AS_WRITER, body: { override: 'auto' } },
  { operation: 'GET /admin/v1/upstreams', target: '/admin/v1/upstreams', status: 200, headers: AS_READER },
  { operation: 'GET /admin/v1/upstreams', target: '/admin/v1/upstreams', status: 401 },
  { operation: 'POST /admin/v1/upstreams', target: '/admin/v1/upstreams', status: 200, headers: AS_WRITER, body: { url: 'http://127.0.0.1:9', region: 'LATAM' } },
  { operation: 'POST /admin/v1/upstreams', target: '/admin/v1/upstreams', status: 400, headers: AS_WRITER, body: { url: 'http://127.0.0.1:9', region: 'LATAM' } },
  { operation: 'POST /admin/v1/upstreams', target: '/admin/v1/upstreams', status: 403, headers: AS_READER, body: { url: 'http://127.0.0.1:9', region: 'LATAM' } },
  { operation: 'POST /admin/v1/upstreams/resolve', target: '/admin/v1/upstreams/resolve', status: 200, headers: AS_WRITER },
  { operation: 'POST /admin/v1/upstreams/resolve', target: '/admin/v1/upstreams/resolve', status: 403, headers: AS_READER },
  { operation: 'PATCH /admin/v1/upstreams/{id}', target: '/admin/v1/upstreams/127.0.0.1:9', status: 200, headers: AS_WRITER, body: { state: 'draining' } },
  { operation: 'PATCH /admin/v1/upstreams/{id}', target: '/admin/v1/upstreams/nobody:1', status: 404, headers: AS_WRITER, body: { state: 'draining' } },
  { operation: 'DELETE /admin/v1/upstreams/{id}', target: '/admin/v1/upstreams/127.0.0.1:9', status: 200, headers: AS_WRITER },
  { operation: 'DELETE /admin/v1/upstreams/{id}', target: '/admin/v1/upstreams/127.0.0.1:9', status: 404, headers: AS_WRITER },
  { operation: 'POST /admin/v1/region/detect', target: '/admin/v1/region/detect', status: 200, headers: AS_WRITER },
  { operation: 'POST /admin/v1/region/detect', target: '/admin/v1/region/detect', status: 403, headers: AS_READER },
  { operation: 'GET /admin/v1/audit', target: '/admin/v1/audit?limit=5', status: 200, headers: AS_READER },
  { operation: 'GET /admin/v1/audit', target: '/admin/v1/audit?limit=0', status: 400, headers: AS_READER },
  { operation: 'GET /admin/v1/cache/curve', target: '/admin/v1/cache/curve', status: 200, headers: AS_READER },
  { operation: 'GET /admin/v1/cache/curve', target: '/admin/v1/cache/curve', status: 401 },
  { operation: 'GET /admin/v1/usage', target: '/admin/v1/usage?by=subject', status: 200, headers: AS_READER },
  { operation: 'GET /admin/v1/usage', target: '/admin/v1/usage?hour=previous', status: 404, headers: AS_READER },
  { operation: 'GET /admin/v1/usage', target: '/admin/v1/usage?limit=0', status: 400, headers: AS_READER },
  { operation: 'GET /admin/v1/usage', target: '/admin/v1/usage', status: 401 },
  { operation: 'GET /admin/v1/scrub', target: '/admin/v1/scrub', status: 200, headers: AS_READER },
  { operation: 'GET /admin/v1/scrub', target: '/admin/v1/scrub', status: 401 },
  { operation: 'POST /admin/v1/scrub', target: '/admin/v1/scrub', status: 200, headers: AS_WRITER, body: { action: 'start' } },
  { operation: 'POST /admin/v1/scrub', target: '/admin/v1/scrub', status: 400, headers: AS_WRITER, body: { action: 'stop' } },
  { operation: 'POST /admin/v1/scrub', target: '/admin/v1/scrub', status: 403, headers: AS_READER, body: { action: 'pause' } },
  { operation: 'GET /admin/v1/integrity', target: '/admin/v1/integrity', status: 200, headers: AS_READER },
  { operation: 'GET /admin/v1/integrity', target: '/admin/v1/integrity', status: 401 },
  { operation: 'GET /admin/v1/p2p', target: '/admin/v1/p2p', status: 200, headers: AS_READER },
  { operation: 'GET /admin/v1/p2p', target: '/admin/v1/p2p', status: 401 },
  { operation: 'GET /admin/v1/log', target: '/admin/v1/log', status: 200, headers: AS_READER },
  { operation: 'PATCH /admin/v1/log', target: '/admin/v1/log', status: 200, headers: AS_WRITER, body: { level: 'silent', sampleHits: 0.5 } },
  { operation: 'PATCH /admin/v1/log', target: '/admin/v1/log', status: 400, headers: AS_WRITER, body: { level: 'loud' } },
  { operation: 'GET /admin/v1/log/stream', target: '/admin/v1/log/stream?status=9xx', status: 400, headers: AS_READER },
  { operation: 'GET /admin/v1/log/stream', target: '/admin/v1/log/stream', status: 401 },
  { operation: 'GET /admin/v1/config', target: '/admin/v1/config', status: 200, headers: AS_READER },
  { operation: 'GET /admin/v1/config', target: '/admin/v1/config', status: 401 },
  { operation: 'POST /admin/v1/config/reload', target: '/admin/v1/config/reload', status: 200, headers: AS_WRITER },
  { operation: 'POST /admin/v1/config/reload', target: '/admin/v1/config/reload', status: 403, headers: AS_READER },
  { operation: 'DELETE /admin/v1/config/overrides', target: '/admin/v1/config/overrides', status: 200, headers: AS_WRITER },
  { operation: 'DELETE /admin/v1/config/overrides/{key}', target: '/admin/v1/config/overrides/limits.tracked_ips', status: 404, headers: AS_WRITER },
  { operation: 'DELETE /admin/v1/config/overrides/{key}', target: '/admin/v1/config/overrides/A', status: 400, headers: AS_WRITER },
  { operation: 'GET /admin/v1/denylist', target: '/admin/v1/denylist', status: 200, headers: AS_READER },
  { operation: 'GET /admin/v1/denylist/cids/{cid}', target: '/admin/v1/denylist/cids/QmA', status: 200, headers: AS_READER },
  { operation: 'GET /admin/v1/denylist/cids/{cid}', target: '/admin/v1/denylist/cids/Qm.A', status: 400, headers: AS_READER },
  { operation: 'POST /admin/v1/denylist/entries', target: '/admin/v1/denylist/entries', status: 200, headers: AS_WRITER, body: { entries: ['QmDenied'], reason: 'a test' } },
  { operation: 'POST /admin/v1/denylist/entries', target: '/admin/v1/denylist/entries', status: 400, headers: AS_WRITER, body: { entries: ['no entry'] } },
  { operation: SHARD, target: '/shards/QmDenied/shard_0.bin', status: 451 },
  { operation: 'DELETE /admin/v1/denylist/entries/{entry}', target: '/admin/v1/denylist/entries/QmDenied', status: 200, headers: AS_WRITER },
  { operation: 'DELETE /admin/v1/denylist/entries/{entry}', target: '/admin/v1/denylist/entries/QmDenied', status: 404, headers: AS_WRITER },
  { operation: 'POST /admin/v1/denylist/reload', target: '/admin/v1/denylist/reload', status: 200, headers: AS_WRITER },
  { operation: 'GET /admin/v1/jobs', target: '/admin/v1/jobs', status: 200, headers: AS_READER },
  { operation: 'GET /admin/v1/jobs', target: '/admin/v1/jobs', status: 401 },
  { operation: 'GET /admin/v1/jobs/{id}', target: '/admin/v1/jobs/none', status: 404, headers: AS_READER },
  { operation: 'POST /admin/v1/jobs', target: '/admin/v1/jobs', status: 400, headers: AS_WRITER, body: { type: 'repair', cid: 'syn-100-job' } },
  { operation: 'GET /admin/v1/jobs/{id}/events', target: '/admin/v1/jobs/none/events', status: 404, headers: AS_READER },
  { operation: 'POST /admin/v1/jobs/{id}/cancel', target: '/admin/v1/jobs/none/cancel', status: 404, headers: AS_WRITER },
  { operation: 'POST /admin/v1/jobs/{id}/retry', target: '/admin/v1/jobs/none/retry', status: 404, headers: AS_WRITER },
  { operation: 'POST /admin/v1/jobs', target: '/admin/v1/jobs', status: 403, headers: AS_READER, body: { type: 'repair', cid: 'syn-100-job' } },
  { operation: 'GET /admin/v1/region', target: '/admin/v1/region', status: 200, headers: AS_READER },
  { operation: 'GET /admin/v1/region', target: '/admin/v1/region', status: 401 },
  { operation: 'PUT /admin/v1/region', target: '/admin/v1/region', status: 200, headers: AS_WRITER, body: { override: 'EU-WEST' } },
  { operation: 'PUT /admin/v1/region', target: '/admin/v1/region', status: 200, headers: AS_WRITER, body: { override: null } },
  { operation: 'PUT /admin/v1/region', target: '/admin/v1/region', status: 400, headers: AS_WRITER, body: { override: 'MOON' } },
  { operation: 'PUT /admin/v1/region', target: '/admin/v1/region', status: 403, headers: AS_READER, body: { override: null } },
  { operation: 'GET /admin/v1/limits', target: '/admin/v1/limits', status: 200, headers: AS_READER },
  { operation: 'GET /admin/v1/limits', target: '/admin/v1/limits', status: 401 },
  { operation: 'PUT /admin/v1/limits', target: '/admin/v1/limits', status: 200, headers: AS_WRITER, body: { handshakesPerSecond: 1_000, connectionsPerIp: 1_000 } },
  { operation: 'PUT /admin/v1/limits', target: '/admin/v1/limits', status: 400, headers: AS_WRITER, body: {} },
  { operation: 'PUT /admin/v1/limits', target: '/admin/v1/limits', status: 403, headers: AS_READER, body: { trackedIps: 1 } },
  { operation: 'GET /admin/v1/bandwidth', target: '/admin/v1/bandwidth?limit=10', status: 200, headers: AS_READER },
  { operation: 'GET /admin/v1/bandwidth', target: '/admin/v1/bandwidth?limit=0', status: 400, headers: AS_READER },
  { operation: 'GET /admin/v1/bandwidth', target: '/admin/v1/bandwidth', status: 401 },
  { operation: 'PUT /admin/v1/bandwidth', target: '/admin/v1/bandwidth', status: 200, headers: AS_WRITER, body: { totalBps: 500_000_000, viewerCapBps: 5_000_000 } },
  { operation: 'PUT /admin/v1/bandwidth', target: '/admin/v1/bandwidth', status: 400, headers: AS_WRITER, body: { viewerFloorBps: 6_000_000 } },
  { operation: 'PUT /admin/v1/bandwidth', target: '/admin/v1/bandwidth', status: 400, headers: AS_WRITER, body: {} },
  { operation: 'PUT /admin/v1/bandwidth', target: '/admin/v1/bandwidth', status: 403, headers: AS_READER, body: { totalBps: 0 } },
  { operation: 'GET /admin/v1/cache', target: '/admin/v1/cache', status: 200, headers: AS_READER },
  { operation: 'GET /admin/v1/cache', target: '/admin/v1/cache', status: 401 },
  { operation: 'PATCH /admin/v1/cache', target: '/admin/v1/cache', status: 200, headers: AS_WRITER, body: { ramBytes: 1_000_000 } },
  { operation: 'PATCH /admin/v1/cache', target: '/admin/v1/cache', status: 400, headers: AS_WRITER, body: {} },
  { operation: 'PATCH /admin/v1/cache', target: '/admin/v1/cache', status: 403, headers: AS_READER, body: { ramBytes: 1 } },
  { operation: 'PATCH /admin/v1/cache', target: '/admin/v1/cache', status: 413, headers: AS_WRITER, body: { x: 'x'.repeat(70_000) } },
  { operation: 'PATCH /admin/v1/cache', target: '/admin/v1/cache', status: 415, headers: { ...AS_WRITER, 'content-type': 'application/xml' }, body: 'x' },
  { operation: 'GET /admin/v1/cache/shards', target: '/admin/v1/cache/shards?limit=1', status: 200, headers: AS_READER },
  { operation: 'GET /admin/v1/cache/shards', target: '/admin/v1/cache/shards?limit=0', status: 400, headers: AS_READER },
  { operation: `GET ${ONE}`, target: '/admin/v1/cache/shards/syn-100-api/3', status: 200, headers: AS_READER },
  { operation: `GET ${ONE}`, target: '/admin/v1/cache/shards/syn-100-api/manifest', status: 200, headers: AS_READER },
  { operation: `GET ${ONE}`, target: '/admin/v1/cache/shards/none/3', status: 404, headers: AS_READER },
  { operation: 'GET /admin/v1/cache/manifest', target: '/admin/v1/cache/manifest', status: 200, headers: AS_READER },
  { operation: 'POST /admin/v1/cache/manifest', target: '/admin/v1/cache/manifest', status: 200, headers: AS_WRITER, body: { version: 1, entries: [] } },
  { operation: 'POST /admin/v1/cache/manifest', target: '/admin/v1/cache/manifest', status: 400, headers: AS_WRITER, body: { version: 1, entries: [{}] } },
  { operation: `DELETE ${ONE}`, target: '/admin/v1/cache/shards/syn-100-api/3', status: 200, headers: AS_WRITER },
  { operation: `DELETE ${ONE}`, target: '/admin/v1/cache/shards/syn-100-api/14', status: 400, headers: AS_WRITER },
  { operation: `DELETE ${MANY}`, target: '/admin/v1/cache/shards/syn-100-api', status: 200, headers: AS_WRITER },
  { operation: 'DELETE /admin/v1/cache/shards', target: '/admin/v1/cache/shards?confirm=all', status: 200, headers: AS_WRITER },
  { operation: 'DELETE /admin/v1/cache/shards', target: '/admin/v1/cache/shards', status: 400, headers: AS_WRITER },
  { operation: 'POST /admin/v1/jobs', target: '/admin/v1/jobs', status: 200, headers: AS_WRITER, body: { type: 'warm', cids: ['syn-100-warm'] } },
  { operation: 'GET /admin/v1/jobs', target: '/admin/v1/jobs', status: 200, headers: AS_READER },
  { operation: 'GET /admin/v1/summary', target: '/admin/v1/summary', status: 200, headers: AS_READER },
  { operation: 'GET /admin/v1/summary', target: '/admin/v1/summary', status: 401 },
  { operation: 'GET /index.html', target: '/index.html', status: 200 }
]

suite('real responses', () => {
  /** Fails when the response is not one that the document promises. */
  async function assertDocumented (document: OpenApiDocument, running: RunningRelay, call: Call): Promise<void> {
    const context = `${call.operation} → ${call.target} ${call.status}`
    const [method = '', path = ''] = call.operation.split(' ')
    const operation = document.paths[path]?.[method.toLowerCase()]
    assert.ok(operation !== undefined, context)
    const base = operation.tags?.some(tag => tag === 'viewer' || tag === 'player') === true ? running.viewerUrl : running.adminUrl
    const content = call.body === undefined ? {} : { body: typeof call.body === 'string' ? call.body : JSON.stringify(call.body) }
    const response = await request(base + call.target, { method: method as 'GET', headers: { ...(call.body === undefined ? {} : { 'content-type': 'application/json' }), ...call.headers }, ...content })
    const body = Buffer.from(await response.body.arrayBuffer())
    assert.equal(response.statusCode, call.status, `${context}: ${body.toString().slice(0, 200)}`)
    const documented = operation.responses[String(call.status)]
    assert.ok(documented !== undefined, `${context} is not documented`)
    for (const [name, { schema }] of Object.entries(documented.headers ?? {})) {
      const value = response.headers[name]
      assert.ok(typeof value === 'string', `${context}: no ${name}`)
      if (schema.pattern !== undefined) assert.match(value, new RegExp(schema.pattern), `${context}: ${name}`)
    }
    if (method === 'HEAD' || documented.content === undefined) {
      assert.equal(body.length, 0, context)
      return
    }
    const mediaType = String(response.headers['content-type']).split(';')[0] ?? ''
    const schema = documented.content[mediaType]?.schema
    assert.ok(schema !== undefined, `${context}: ${mediaType} is not documented`)
    const ajv = new Ajv2020({ strict: false, validateFormats: false })
    const validate = ajv.compile({ ...schema, components: document.components })
    const value: unknown = mediaType.endsWith('json') ? JSON.parse(body.toString()) : body.toString('latin1')
    assert.ok(validate(value), `${context}: ${ajv.errorsText(validate.errors)}`)
  }

  test('what the relay answers is what the document says, for every operation', { timeout: 240_000 }, async t => {
    const document = parse(await readFile(FILE, 'utf8')) as OpenApiDocument
    const nodes: SuperNode[] = [await startSuperNode({ port: 0 })]
    t.after(async () => { await Promise.all(nodes.map(async node => { await node.close() })) })
    const [node] = nodes
    assert.ok(node !== undefined)
    const running = await startRelay(t, [{ url: node.url, region: node.region }], { transport: { engine: 'quinn' }, viewer: { player: true }, usage: { enabled: true }, admin: { tokens: TOKENS }, bandwidth: { total_bps: 1_000_000_000 }, upstream: { headers_timeout_ms: 300, backoff_initial_ms: 1, backoff_max_ms: 1 } })
    for (const call of CALLS) {
      if (call.status === 502) node.setFaults({ status: 500 })
      else if (call.status === 504) node.setFaults({ hang: true })
      else node.reset()
      await assertDocumented(document, running, call)
      await until(async () => running.relay.admin.shards.fills, fills => fills === 0)
    }
    const called = new Set(CALLS.map(call => call.operation))
    assert.deepEqual(operations(document).map(({ id }) => id).filter(id => !called.has(id)), [])
  })

  test('the relay refuses the bodies that the document refuses, and no others', { timeout: 240_000 }, async t => {
    const document = parse(await readFile(FILE, 'utf8')) as OpenApiDocument
    const node = await startSuperNode({ port: 0 })
    t.after(async () => { await node.close() })
    const running = await startRelay(t, [{ url: node.url, region: node.region }], { cache: { integrity: 'manifest' }, transport: { engine: 'quinn' }, usage: { enabled: true }, bandwidth: { total_bps: 1_000_000_000 }, admin: { requests_per_minute: 10_000 } })
    const [upstream] = running.relay.admin.upstream.status()
    assert.ok(upstream !== undefined)
    const bodies: Record<string, { target?: string, body: Record<string, unknown> }> = {
      'POST /admin/v1/drain': { body: { deadlineMs: 10, alternates: ['https://relay.example:9003'] } },
      'PATCH /admin/v1/cache': { body: { maxBytes: 1_000_000_000, ramBytes: 1_000_000 } },
      'POST /admin/v1/cache/manifest': { body: { version: 1, entries: [{ cid: 'a', part: 0, size: 1, sha256: '0'.repeat(64), storedAt: 1, lastAccess: 1, hits: 0, generation: 'a0' }] } },
      'PATCH /admin/v1/log': { body: { level: 'silent', sampleHits: 0.5, sampleMisses: 1 } },
      'PUT /admin/v1/limits': { body: { handshakesPerSecond: 1_000, handshakesPerSecondPerIp: 1_000, trackedIps: 1_000, requestsPerSecondPerViewer: 1_000, connectionsPerIp: 1_000 } },
      'PUT /admin/v1/overload': { body: { override: 'auto' } },
      'PUT /admin/v1/bandwidth': { body: { totalBps: 500_000_000, viewerCapBps: 5_000_000, viewerFloorBps: 0, burstBytes: 0 } },
      'POST /admin/v1/scrub': { body: { action: 'pause' } },
      'PUT /admin/v1/cache/pins/{cid}': { target: '/admin/v1/cache/pins/QmPinned', body: { ttlMs: 60_000 } },
      'POST /admin/v1/cache/purge': { body: { tag: 'none', mode: 'soft' } },
      'POST /admin/v1/denylist/entries': { body: { entries: ['QmDenied'], reason: 'a test' } },
      'POST /admin/v1/jobs': { body: { type: 'repair', cid: 'syn-100-job' } },
      'PUT /admin/v1/region': { body: { override: node.region } },
      'POST /admin/v1/upstreams': { body: { url: 'http://127.0.0.1:9', region: 'LATAM' } },
      'PATCH /admin/v1/upstreams/{id}': { target: `/admin/v1/upstreams/${upstream.id}`, body: { state: 'enabled' } }
    }
    const withBody = operations(document).filter(({ operation }) => operation.requestBody !== undefined)
    assert.deepEqual(Object.keys(bodies).sort(), withBody.map(({ id }) => id).sort())
    const ajv = new Ajv2020({ strict: false, validateFormats: false })
    for (const { id, method, path, operation } of withBody) {
      const { target = path, body } = bodies[id] ?? assert.fail(id)
      const isValid = ajv.compile({ ...operation.requestBody?.content['application/json']?.schema, components: document.components })
      const send = async (content: unknown, type = 'application/json'): Promise<number> => {
        const response = await request(running.adminUrl + target, { method: method.toUpperCase() as 'PUT', headers: { 'content-type': type, 'x-requested-with': 'test' }, body: JSON.stringify(content) })
        await response.body.dump()
        assert.ok(operation.responses[String(response.statusCode)] !== undefined, `${id} ${response.statusCode} is not documented`)
        return response.statusCode
      }
      const names = Object.keys(body)
      const variants: unknown[] = [
        body, {}, null, [], { ...body, unknown: 1 },
        ...names.map(name => Object.fromEntries(Object.entries(body).filter(([other]) => other !== name))),
        // Another text may be well-formed and name nothing.
        ...names.flatMap(name => [null, -1, true, [null], {}, ...typeof body[name] === 'string' ? [] : ['7']].map(value => ({ ...body, [name]: value })))
      ]
      for (const variant of variants) {
        // One that is there already is refused for that.
        if (id === 'POST /admin/v1/upstreams') await (await request(`${running.adminUrl}/admin/v1/upstreams/127.0.0.1:9`, { method: 'DELETE', headers: { 'x-requested-with': 'test' } })).body.dump()
        assert.equal(await send(variant) === 400, !isValid(variant), `${id} ${JSON.stringify(variant)}`)
      }
      assert.equal(await send(body, 'application/xml'), 415, id)
    }
  })

  test('the refusals of a relay that wants viewer tokens are documented', { timeout: 240_000 }, async t => {
    const document = parse(await readFile(FILE, 'utf8')) as OpenApiDocument
    const node = await startSuperNode({ port: 0 })
    t.after(async () => { await node.close() })
    const token = 'a-token-of-a-viewer'
    const running = await startRelay(t, [{ url: node.url, region: node.region }], { bandwidth: { total_bps: 1_000_000_000 }, auth: { require: true, tokens: [{ token, cid_prefixes: ['syn-10-mine'] }] } })
    for (const operation of [SHARD, 'HEAD /shards/{cid}/shard_{n}.bin']) {
      await assertDocumented(document, running, { operation, target: '/shards/syn-10-mine/shard_0.bin', status: 401 })
      await assertDocumented(document, running, { operation, target: '/shards/syn-10-mine/shard_0.bin', status: 401, headers: { authorization: 'Bearer wrong' } })
      await assertDocumented(document, running, { operation, target: `/shards/syn-10-other/shard_0.bin?token=${token}`, status: 403 })
    }
    await assertDocumented(document, running, { operation: MANIFEST, target: '/shards/syn-10-mine/manifest.json', status: 200, headers: { authorization: `Bearer ${token}` } })
  })

  test('the refusals of a relay without tokens, of one that is asked too often and of one that is busy or stopping are documented', { timeout: 240_000 }, async t => {
    const document = parse(await readFile(FILE, 'utf8')) as OpenApiDocument
    const node = await startSuperNode({ port: 0, faults: { match: 'slow', latencyMs: 500 } })
    t.after(async () => { await node.close() })
    const running = await startRelay(t, [{ url: node.url, region: node.region }], { admin: { requests_per_minute: 2 }, upstream: { max_fills: 1 }, viewer: { stop_timeout_ms: 10_000 } })
    await assertDocumented(document, running, { operation: 'GET /admin/v1/cache', target: '/admin/v1/cache', status: 403, headers: { host: 'evil.example' } })
    for (let time = 0; time < 2; time++) assert.equal((await cacheStats(running.adminUrl)).fills, 0)
    await assertDocumented(document, running, { operation: 'GET /admin/v1/cache', target: '/admin/v1/cache', status: 429 })
    const { limits } = running.relay.admin
    const generous = limits.numbers
    limits.change({ requestsPerSecondPerViewer: 1 })
    // Whoever has just asked waits a whole second for the next token.
    for (const [operation, target] of [[SHARD, '/shards/syn-10-other/shard_0.bin'], ['GET /v1/transport', '/v1/transport']] as const) {
      await until(async () => await (await request(`${running.viewerUrl}/v1/transport`)).body.text(), text => text.includes('region'))
      await assertDocumented(document, running, { operation, target, status: 429 })
    }
    limits.change(generous)
    const slow = request(`${running.viewerUrl}/shards/syn-10-slow/shard_0.bin`).then(async ({ body }) => { await body.dump() })
    await until(async () => running.relay.admin.shards.fills, fills => fills === 1)
    await assertDocumented(document, running, { operation: SHARD, target: '/shards/syn-10-other/shard_0.bin', status: 503 })
    const closed = running.relay.close()
    await assertDocumented(document, running, { operation: 'GET /ready', target: '/ready', status: 503 })
    await slow
    await closed
  })
})
