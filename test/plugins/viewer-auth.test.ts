import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import test, { type TestContext } from 'node:test'
import { request } from 'undici'
import { startSuperNode, syntheticShard } from '../../demo/super-node/server.ts'
import { connect } from '../../src/client/node.ts'
import { createLogger } from '../../src/log.ts'
import { sha256 } from '../support/http.ts'
import { assertProblem, type AnyResponse } from '../support/problem.ts'
import { startRelay, type RunningRelay } from '../support/relay.ts'

const TOKEN = 'correct-horse-battery'
const OTHER = 'another-viewers-token'
const WRONG = 'wrong-horse-battery-staple'
const CID = 'syn-5000-auth'
const PATH = `/shards/${CID}/shard_0.bin`

async function setup (t: TestContext, settings: Record<string, Record<string, unknown>> = {}): Promise<RunningRelay & { readonly log: () => string }> {
  const origin = await startSuperNode({ port: 0 })
  t.after(async () => { await origin.close() })
  const lines: string[] = []
  const logger = createLogger('trace', new Writable({ write (chunk: Buffer, _encoding, done) { lines.push(chunk.toString()); done() } }))
  const running = await startRelay(t, [{ url: origin.url, region: origin.region }], { auth: { require: true, tokens: [TOKEN, OTHER] }, transport: { engine: 'off' }, log: { level: 'trace' }, ...settings }, { logger })
  return { ...running, log: () => lines.join('') }
}

async function get (url: string, headers: Record<string, string> = {}, method: 'GET' | 'HEAD' | 'OPTIONS' | 'POST' = 'GET'): Promise<AnyResponse> {
  const response = await request(url, { method, headers })
  return { status: response.statusCode, headers: response.headers, body: Buffer.from(await response.body.arrayBuffer()) }
}

test('a request with a known token is served, by header or by query; the object may be kept by the viewer only', async t => {
  const { viewerUrl } = await setup(t)
  for (const [url, headers] of [
    [PATH, { authorization: `Bearer ${TOKEN}` }], [PATH, { authorization: `bearer  ${OTHER} ` }], [`${PATH}?token=${TOKEN}`, {}], [`${PATH}?x=1&token=${OTHER}`, {}]
  ] as const) {
    const got = await get(viewerUrl + url, headers)
    assert.equal(got.status, 200, url)
    assert.deepEqual(got.body, syntheticShard(CID, 0))
    assert.equal(got.headers['cache-control'], 'private, max-age=31536000, immutable')
  }
  const partial = await get(viewerUrl + PATH, { authorization: `Bearer ${TOKEN}`, range: 'bytes=0-9' })
  assert.equal(partial.status, 206)
  assert.equal((await get(viewerUrl + PATH, { authorization: `Bearer ${TOKEN}` }, 'HEAD')).status, 200)
})

test('any other is refused before it costs a fill, and the answer names the scheme', async t => {
  const { viewerUrl, adminUrl } = await setup(t)
  const refused: [string, Record<string, string>][] = [
    [PATH, {}], [PATH, { authorization: `Bearer ${WRONG}` }], [PATH, { authorization: 'Basic dXNlcjpwYXNz' }], [PATH, { authorization: 'Bearer' }],
    [PATH, { authorization: `Bearer ${TOKEN.slice(0, -1)}` }], [PATH, { authorization: `Bearer ${TOKEN}x` }],
    [`${PATH}?token=${WRONG}`, {}], [`${PATH}?token=`, {}], [`${PATH}?token=%00`, {}], [`${PATH}?TOKEN=${TOKEN}`, {}],
    // The header is what counts when there are both.
    [`${PATH}?token=${TOKEN}`, { authorization: `Bearer ${WRONG}` }],
    ['/shards/!/shard_99.bin', {}]
  ]
  for (const [url, headers] of refused) {
    const got = await get(viewerUrl + url, headers)
    assertProblem(got, 'RELAY_ERR_VIEWER_UNAUTHORIZED', `${url} ${JSON.stringify(headers)}`)
    const shown = url.includes(`token=${WRONG}`) || url.includes('token=%00') || /^Bearer [^ ]/.test(headers['authorization'] ?? '')
    assert.equal(got.headers['www-authenticate'], shown ? 'Bearer error="invalid_token", error_description="the token is not valid"' : 'Bearer', url)
    assert.equal(got.headers['access-control-allow-origin'], '*')
  }
  assert.equal((await get(viewerUrl + PATH, {}, 'HEAD')).status, 401)
  assert.match((await get(`${adminUrl}/metrics`)).body.toString(), /icn_relay_cache_entries\{tier="disk"\} 0/)
})

test('what a client needs before it has a token is open to all', async t => {
  const { viewerUrl } = await setup(t)
  assert.equal((await get(`${viewerUrl}/v1/transport`)).status, 200)
  const preflight = await get(viewerUrl + PATH, { origin: 'https://page.example', 'access-control-request-method': 'GET', 'access-control-request-headers': 'authorization' }, 'OPTIONS')
  assert.equal(preflight.status, 204)
  assertProblem(await get(viewerUrl + PATH, {}, 'POST'), 'RELAY_ERR_METHOD')
})

test('without auth.require tokens change nothing', async t => {
  const { viewerUrl } = await setup(t, { auth: { require: false, tokens: [TOKEN] } })
  const got = await get(viewerUrl + PATH, { authorization: `Bearer ${WRONG}` })
  assert.equal(got.status, 200)
  assert.match(String(got.headers['cache-control']), /^public/)
})

test('tokens reach the log in no form, over no road', { timeout: 120_000 }, async t => {
  const { viewerUrl, log } = await setup(t, { transport: { engine: 'bundled' } })
  for (const token of [TOKEN, WRONG]) {
    await get(`${viewerUrl}${PATH}?token=${token}`)
    await get(viewerUrl + PATH, { authorization: `Bearer ${token}` })
    for (const transport of ['webtransport', 'websocket', 'http'] as const) {
      const client = await connect(viewerUrl, { transports: [transport], token, connectTimeoutMs: 20_000 })
      const fetched = client.fetchShard(CID, 0)
      if (token === TOKEN) assert.equal(sha256((await fetched).bytes), sha256(syntheticShard(CID, 0)))
      else await assert.rejects(fetched, { status: 401 }, transport)
      client.close()
    }
  }
  assert.ok(log().includes('"status":401') && log().includes('token=[redacted]'))
  for (const token of [TOKEN, WRONG, OTHER]) {
    assert.ok(!log().includes(token), 'a token is in the log')
    assert.ok(!log().includes(sha256(Buffer.from(token))), 'the digest of a token is in the log')
  }
})
