import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import test, { type TestContext } from 'node:test'
import { request } from 'undici'
import fc from 'fast-check'
import { startSuperNode, syntheticShard } from '../../demo/super-node/server.ts'
import { hashedToken } from '../../src/admission/static-tokens.ts'
import { signQuery, signUrl } from '../../src/admission/signed-url.ts'
import { connect, ShardClientError } from '../../client/src/node.ts'
import { createLogger } from '../../src/base/log.ts'
import { metric, sha256, until } from '../../tools/harness/http.ts'
import { keyPair, makeJwt, SECRET, type KeyPair } from '../support/jwt.ts'
import { assertProblem, type AnyResponse } from '../support/problem.ts'
import { openGatewaySession } from '../../tools/harness/quinn-rig.ts'
import { startRelay, type RunningRelay } from '../../tools/harness/relay.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'

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
  const running = await startRelay(t, [{ url: origin.url, region: origin.region }], { auth: { require: true, tokens: [TOKEN, OTHER] }, transport: { engine: 'off' }, log: { level: 'trace' }, ...settings }, { logger, output: line => { lines.push(line) } })
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
  assert.match(String(preflight.headers['access-control-allow-headers']), /authorization/)
  assert.match(String((await get(viewerUrl + PATH, { origin: 'https://page.example' })).headers['access-control-expose-headers']), /www-authenticate/)
  assertProblem(await get(viewerUrl + PATH, {}, 'POST'), 'RELAY_ERR_METHOD')
})

test('without auth.require tokens change nothing', async t => {
  const { viewerUrl } = await setup(t, { auth: { require: false, tokens: [TOKEN] } })
  const got = await get(viewerUrl + PATH, { authorization: `Bearer ${WRONG}` })
  assert.equal(got.status, 200)
  assert.match(String(got.headers['cache-control']), /^public/)
})

test('tokens reach the log in no form, over no transport', { timeout: 240_000 }, async t => {
  const { viewerUrl, log } = await setup(t, { transport: { engine: 'quinn' } })
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
  // Records of sessions come in batches.
  await until(async () => log(), text => text.split('"transport":"websocket"').length === 3 && text.split('"transport":"webtransport"').length === 3)
  assert.ok(log().includes('"status":401') && log().includes('token=[redacted]'))
  for (const token of [TOKEN, WRONG, OTHER]) {
    assert.ok(!log().includes(token), 'a token is in the log')
    assert.ok(!log().includes(sha256(Buffer.from(token))), 'the digest of a token is in the log')
  }
})

const now = (): number => Math.floor(Date.now() / 1_000)
const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` })
const URL_KEY = { kid: '2030', secret: 'u'.repeat(40) }

test('a JWT opens the objects of its scope, shards and manifest alike, cached or not', async t => {
  const { viewerUrl, adminUrl } = await setup(t, { auth: { require: true, jwt: { hs256_secret: SECRET, issuer: 'issuer.example', audience: 'relay' } } })
  const claims = { cid: CID, iss: 'issuer.example', aud: 'relay', exp: now() + 600 }
  const headers = bearer(await makeJwt(claims))
  for (const path of [PATH, PATH, `/shards/${CID}/manifest.json`]) assert.equal((await get(viewerUrl + path, headers)).status, 200, path)
  assert.equal((await get(viewerUrl + PATH, headers, 'HEAD')).status, 200)
  assert.equal((await get(`${viewerUrl}${PATH}?token=${await makeJwt(claims)}`)).status, 200)
  for (const path of ['/shards/syn-5000-other/shard_0.bin', '/shards/syn-5000-other/manifest.json', `/shards/${CID.slice(0, -1)}/shard_0.bin`]) {
    const foreign = await get(viewerUrl + path, headers)
    assertProblem(foreign, 'RELAY_ERR_VIEWER_SCOPE', path)
    assert.equal(foreign.headers['www-authenticate'], 'Bearer error="insufficient_scope", error_description="the token is not for this object"')
  }
  // What is cached is as closed as what is not.
  for (const [token, code, why] of [
    [await makeJwt({ ...claims, exp: now() - 60 }), 'RELAY_ERR_VIEWER_TOKEN_EXPIRED', 'the token has expired'],
    [await makeJwt({ ...claims, nbf: now() + 60 }), 'RELAY_ERR_VIEWER_TOKEN_EARLY', 'the token is not valid yet'],
    [await makeJwt({ ...claims, iss: 'other' }), 'RELAY_ERR_VIEWER_UNAUTHORIZED', 'the token comes from another issuer'],
    [await makeJwt({ ...claims, aud: 'other' }), 'RELAY_ERR_VIEWER_UNAUTHORIZED', 'the token is for another audience'],
    [await makeJwt({ ...claims, exp: undefined }), 'RELAY_ERR_VIEWER_UNAUTHORIZED', 'the token has no exp claim'],
    [await makeJwt(claims, `${SECRET}x`), 'RELAY_ERR_VIEWER_UNAUTHORIZED', 'the token is not valid']
  ] as const) {
    const got = await get(viewerUrl + PATH, bearer(token))
    assertProblem(got, code, why)
    assert.equal(got.headers['www-authenticate'], `Bearer error="invalid_token", error_description="${why}"`)
  }
  assertProblem(await get(`${viewerUrl}/shards/!/shard_0.bin`, headers), 'RELAY_ERR_SHARD_PATH')
  for (const [code, count] of [['RELAY_ERR_VIEWER_SCOPE', 3], ['RELAY_ERR_VIEWER_TOKEN_EXPIRED', 1], ['RELAY_ERR_VIEWER_TOKEN_EARLY', 1], ['RELAY_ERR_VIEWER_UNAUTHORIZED', 4]] as const) {
    assert.equal(await metric(adminUrl, 'icn_relay_viewer_refusals_total', `{code="${code}"}`), count, code)
  }
})

test('static tokens may be hashed, and have a scope; plain ones get one warning that names the key', async t => {
  const { viewerUrl, log } = await setup(t, { auth: { require: true, tokens: [hashedToken(TOKEN), { token: hashedToken(OTHER), class: 'gold', cid_prefixes: ['syn-5'] }, WRONG, { token: `${WRONG}-2` }] } })
  for (const token of [TOKEN, OTHER, WRONG]) assert.equal((await get(viewerUrl + PATH, bearer(token))).status, 200)
  assertProblem(await get(`${viewerUrl}/shards/other/shard_0.bin`, bearer(OTHER)), 'RELAY_ERR_VIEWER_SCOPE')
  assertProblem(await get(viewerUrl + PATH, bearer(hashedToken(TOKEN))), 'RELAY_ERR_VIEWER_UNAUTHORIZED')
  const warnings = log().split('\n').filter(line => line.includes('"level":"warn"'))
  assert.equal(warnings.length, 1, warnings.join('\n'))
  assert.deepEqual((JSON.parse(warnings[0] ?? '') as { keys: unknown }).keys, ['auth.tokens.2', 'auth.tokens.3'])
  assert.ok(![TOKEN, OTHER, WRONG].some(token => log().includes(token)))
})

test('what nobody can show is a warning at the start', async t => {
  const { log } = await setup(t, { auth: { require: true } })
  assert.match(log(), /auth\.require is set and nothing is configured that viewers could show/)
})

test('a signed URL opens its path or the paths below its prefix', async t => {
  const { viewerUrl, log } = await setup(t, { auth: { require: true, signed_urls: { keys: [{ kid: URL_KEY.kid, secret: URL_KEY.secret }] } } })
  const expiresAt = now() + 600
  const one = signUrl({ path: PATH, expiresAt, ip: '127.0.0.1', viewer: 'v' }, URL_KEY)
  const below = signQuery({ path: `/shards/${CID}/`, expiresAt }, URL_KEY)
  const got = await get(viewerUrl + one)
  assert.deepEqual([got.status, got.headers['cache-control']], [200, 'private, max-age=31536000, immutable'])
  assert.deepEqual(got.body, syntheticShard(CID, 0))
  assert.equal((await get(viewerUrl + one, {}, 'HEAD')).status, 200)
  assert.equal((await get(viewerUrl + one, { range: 'bytes=0-9' })).status, 206)
  for (const path of [PATH, `/shards/${CID}/shard_13.bin`, `/shards/${CID}/manifest.json`]) assert.equal((await get(`${viewerUrl}${path}?${below}`)).status, 200, path)
  for (const [url, code] of [
    [`/shards/${CID}x/shard_0.bin?${below}`, 'RELAY_ERR_VIEWER_SCOPE'],
    [signUrl({ path: PATH, expiresAt, ip: '192.0.2.1' }, URL_KEY), 'RELAY_ERR_VIEWER_SCOPE'],
    [signUrl({ path: PATH, expiresAt: now() - 1 }, URL_KEY), 'RELAY_ERR_VIEWER_TOKEN_EXPIRED'],
    [one.replace('shard_0', 'shard_1'), 'RELAY_ERR_VIEWER_UNAUTHORIZED'],
    [one.replace(`exp=${expiresAt}`, `exp=${expiresAt + 1}`), 'RELAY_ERR_VIEWER_UNAUTHORIZED'],
    [signUrl({ path: PATH, expiresAt }, { ...URL_KEY, secret: 'x'.repeat(40) }), 'RELAY_ERR_VIEWER_UNAUTHORIZED'],
    [PATH, 'RELAY_ERR_VIEWER_UNAUTHORIZED']
  ] as const) assertProblem(await get(viewerUrl + url), code, url)
  for (const url of [one, below]) assert.ok(!log().includes(url.split('sig=')[1] ?? ''), 'a signature is in the log')
})

test('keys that are replaced count immediately, on every transport, for sessions that exist too', { timeout: 240_000 }, async t => {
  const directory = await temporaryDirectory(t)
  const [file, old, fresh] = [join(directory, 'jwks.json'), keyPair('EdDSA'), keyPair('ES256')]
  const write = async (...keys: KeyPair[]): Promise<void> => { await writeFile(file, JSON.stringify({ keys: keys.map(({ publicKey }, kid) => ({ ...publicKey.export({ format: 'jwk' }), kid: String(kid) })) })) }
  await write(old)
  const { relay, viewerUrl, adminUrl } = await setup(t, { auth: { require: true, jwt: { jwks_file: file } }, transport: { engine: 'quinn', heartbeat_ms: 50 } })
  const claims = { cid: CID, exp: now() + 600, sub: 'viewer-7', class: 'gold' }
  const tokens = { old: await makeJwt(claims, old), fresh: await makeJwt(claims, fresh) }
  let token = tokens.old
  const client = await connect(viewerUrl, { transports: ['webtransport'], token: () => token, connectTimeoutMs: 20_000 })
  t.after(() => { client.close() })
  const statusOf = async (): Promise<unknown> => await client.fetchShard(CID, 0).then(() => 200, (error: unknown) => error instanceof ShardClientError ? error.status : error)
  assert.deepEqual([await statusOf(), (await get(viewerUrl + PATH, bearer(tokens.old))).status, (await get(viewerUrl + PATH, bearer(tokens.fresh))).status], [200, 200, 401])
  const rows = await (await request(`${adminUrl}/admin/v1/viewers`)).body.json() as { viewers: { identity?: string, class?: string }[] }
  assert.deepEqual(rows.viewers.map(({ identity, class: name }) => [identity, name]), [['viewer-7', 'gold']])

  await write(fresh)
  await relay.reload()
  assert.deepEqual([(await get(viewerUrl + PATH, bearer(tokens.old))).status, (await get(viewerUrl + PATH, bearer(tokens.fresh))).status], [401, 200])
  // The gateway hears of it over its channel.
  await until(statusOf, status => status === 401)
  await until(async () => await metric(adminUrl, 'icn_relay_viewer_refusals_total', '{code="RELAY_ERR_VIEWER_UNAUTHORIZED"}'), count => count > 2)
  token = tokens.fresh
  assert.equal(await statusOf(), 200)
  // A gateway that is started again has the keys of now.
  const pid = relay.admin.viewers.supervisor?.pid
  assert.ok(pid)
  process.kill(pid, 'SIGKILL')
  await until(async () => relay.admin.viewers.supervisor, supervisor => supervisor?.listening !== undefined && supervisor.pid !== pid)
  assert.equal(await statusOf(), 200)
  token = tokens.old
  assert.equal(await statusOf(), 401)

  await writeFile(file, 'no jwks')
  await relay.reload()
  assert.equal((await get(viewerUrl + PATH, bearer(tokens.fresh))).status, 200, 'a bad file changes nothing')
})

test('a refused token is one clear error of the client, asked once', { timeout: 240_000 }, async t => {
  const { viewerUrl, adminUrl } = await setup(t, { auth: { require: true, jwt: { hs256_secret: SECRET } }, transport: { engine: 'quinn', heartbeat_ms: 50 } })
  for (const transport of ['webtransport', 'websocket', 'http'] as const) {
    for (const [claims, status, code] of [[{ exp: now() - 60 }, 401, 'RELAY_ERR_VIEWER_TOKEN_EXPIRED'], [{ cid: 'other', exp: now() + 60 }, 403, 'RELAY_ERR_VIEWER_SCOPE']] as const) {
      const before = await metric(adminUrl, 'icn_relay_viewer_refusals_total', `{code="${code}"}`)
      const client = await connect(viewerUrl, { transports: [transport], token: await makeJwt(claims), connectTimeoutMs: 20_000 })
      await assert.rejects(client.fetchShard(CID, 0), { name: 'ShardClientError', fault: 'status', status, code, unauthorized: true, retryable: false }, transport)
      await assert.rejects(client.fetchVideo(CID), { status, code }, transport)
      client.close()
      await until(async () => await metric(adminUrl, 'icn_relay_viewer_refusals_total', `{code="${code}"}`), count => count >= before + 2)
      assert.equal(await metric(adminUrl, 'icn_relay_viewer_refusals_total', `{code="${code}"}`), before + 2)
    }
  }
})

test('whatever token is shown, in whatever place, no answer, log line or metric repeats it', { timeout: 240_000 }, async t => {
  const { relay, viewerUrl, adminUrl, log } = await setup(t, { auth: { require: true, tokens: [TOKEN], jwt: { hs256_secret: SECRET }, signed_urls: { keys: [URL_KEY] } }, transport: { engine: 'quinn', heartbeat_ms: 50 } })
  const session = await openGatewaySession(relay)
  t.after(() => { session.close() })
  const shown: string[] = []
  const ask = async (text: string): Promise<string> => {
    const stream = await session.openBidi()
    await stream.write(Buffer.from(text))
    await stream.end()
    const parts: Uint8Array[] = []
    for (let part = await stream.read(); part !== null; part = await stream.read()) parts.push(part)
    return Buffer.concat(parts).toString('latin1')
  }
  const genuine = await makeJwt({ exp: now() - 60, sub: 'viewer' })
  // A line of the request ends at a line end, so that a token has none.
  const token = fc.oneof(
    fc.string({ unit: fc.integer({ min: 0x21, max: 0x7e }).map(code => String.fromCharCode(code)), minLength: 16, maxLength: 200 }),
    fc.tuple(fc.nat(genuine.length - 1), fc.constantFrom('A', 'b', '.')).map(([at, char]) => genuine.slice(0, at) + char + genuine.slice(at + 1))
  ).filter(text => !['Bearer', TOKEN].includes(text))
  await fc.assert(fc.asyncProperty(token, async text => {
    shown.push(text)
    const query = encodeURIComponent(text)
    const answers = await Promise.all([
      ...[PATH, `/shards/${CID}/manifest.json`, '/v1/transport', '/nothing'].flatMap(path => [
        get(viewerUrl + path, bearer(text)), get(`${viewerUrl}${path}?token=${query}`), get(`${viewerUrl}${path}?a=1&%74oken=${query}`), get(`${viewerUrl}${path}?exp=1&kid=2030&sig=${query}`)
      ]),
      get(viewerUrl + PATH, { authorization: text }), get(viewerUrl + PATH, bearer(text), 'HEAD'), get(viewerUrl + PATH, bearer(text), 'POST'),
      get(`${viewerUrl}/shards/!/?token=${query}`), get(`${viewerUrl}/%zz?token=${query}`)
    ])
    const heads = answers.map(({ headers, body }) => JSON.stringify(headers) + body.toString('latin1'))
    const streams = await Promise.all([`GET ${PATH} HTTP/1.1\r\nauthorization: Bearer ${text}\r\n\r\n`, `AUTH ${text}\nGET ${PATH}\n\n`, `GET ${PATH} HTTP/1.1\r\nauthorization: ${text}\r\n\r\n`, `GET ${PATH}?token=${query} HTTP/1.1\r\n\r\n`].map(ask))
    for (const answer of [...heads, ...streams]) assert.ok(![text, query].some(form => answer.includes(form)), answer.slice(0, 500))
    assert.ok(streams.every(answer => /^HTTP\/1\.1 (?:400|401) /.test(answer)), streams.join('\n'))
  }), { numRuns: 25 })
  for (const text of shown.slice(0, 5)) {
    await assert.rejects(openGatewaySession(relay, { query: `token=${encodeURIComponent(text)}` }), (error: unknown) => !String(error).includes(text))
  }
  const metrics = (await get(`${adminUrl}/metrics`)).body.toString()
  const viewers = (await get(`${adminUrl}/admin/v1/viewers`)).body.toString()
  for (const text of [...shown, SECRET, URL_KEY.secret, TOKEN]) {
    for (const form of [text, encodeURIComponent(text), JSON.stringify(text).slice(1, -1), sha256(Buffer.from(text))]) {
      for (const [name, place] of [['log', log()], ['metrics', metrics], ['viewers', viewers]] as const) assert.ok(!place.includes(form), `${name} has ${form}`)
    }
  }
})

test('while nothing is required, tokens that are not valid change nothing over sessions either', { timeout: 240_000 }, async t => {
  const { viewerUrl } = await setup(t, { auth: { tokens: [TOKEN], jwt: { hs256_secret: SECRET } }, transport: { engine: 'quinn' } })
  for (const token of [WRONG, await makeJwt({ exp: now() - 60 }), await makeJwt({ exp: now() + 60, cid: 'other' })]) {
    const client = await connect(viewerUrl, { transports: ['webtransport'], token, connectTimeoutMs: 20_000 })
    assert.equal((await client.fetchShard(CID, 0)).status, 200)
    client.close()
    assert.equal((await get(viewerUrl + PATH, bearer(token))).status, 200)
  }
})
