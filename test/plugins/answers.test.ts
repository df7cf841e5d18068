import assert from 'node:assert/strict'
import { suite, test, type TestContext } from 'node:test'
import { request } from 'undici'
import { openSession, readAll } from '../../tools/harness/quinn-rig.ts'
import { PATIENT_SUPERVISOR, PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { metric, sha256, until } from '../../tools/harness/http.ts'
import { startRelay, type RunningRelay } from '../../tools/harness/relay.ts'
import { bytesOf } from '../support/cache.ts'
import { rawOrigin, response } from '../support/raw-origin.ts'

const BODY = bytesOf('answers', 1_000)
const SHARD = '/shards/known/shard_0.bin'
const TOKEN = 'a-token-of-viewers'

interface Heard { readonly status: number, readonly fields: Record<string, string>, readonly body: Buffer }

const served = async ({ adminUrl }: RunningRelay, transport: string): Promise<number> => await metric(adminUrl, 'icn_relay_bytes_served_total', `{transport="${transport}"}`)

/** Fields that belong to HTTP, and what listeners and pages need of it. */
const OF_HTTP = /^(?:date|connection|keep-alive|vary|x-|access-control-|ratelimit-|timing-allow-origin|cross-origin-)/

/** Times differ from answer to answer. */
const withoutTimes = (value: string): string => value.replaceAll(/dur=[\d.]+/g, 'dur=…')

async function overHttp ({ viewerUrl }: RunningRelay, method: 'GET' | 'HEAD', path: string, fields: Record<string, string>): Promise<Heard> {
  const got = await request(viewerUrl + path, { method, headers: fields })
  const kept = Object.entries(got.headers).filter(([name]) => !OF_HTTP.test(name)).map(([name, value]) => [name, withoutTimes(String(value))] as const)
  return { status: got.statusCode, fields: Object.fromEntries(kept), body: Buffer.from(await got.body.arrayBuffer()) }
}

async function overSession (t: TestContext, { viewerUrl }: RunningRelay, method: 'GET' | 'HEAD', path: string, fields: Record<string, string>): Promise<Heard> {
  const session = await openSession(viewerUrl)
  t.after(() => { session.close() })
  const stream = await session.openBidi()
  await stream.write(Buffer.from(`${method} ${path} HTTP/1.1\r\n${Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`))
  const bytes = await readAll(stream)
  await stream.end()
  const end = bytes.indexOf('\r\n\r\n')
  const [status = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n')
  const pairs = lines.map(line => [line.slice(0, line.indexOf(': ')), withoutTimes(line.slice(line.indexOf(': ') + 2))] as const)
  assert.ok(pairs.some(([name, value]) => name === 'x-request-id' && /^[0-9a-f-]{36}$/.test(value)))
  return { status: Number(status.split(' ')[1]), fields: Object.fromEntries(pairs.filter(([name]) => name !== 'x-request-id')), body: bytes.subarray(end + 4) }
}

/** A problem document, whose media type and final line end are the listener's. */
function comparable ({ status, fields, body }: Heard): unknown {
  // Only there a head always has one.
  if (status === 304) {
    const { 'content-length': length = String(BODY.length), ...rest } = fields
    return { status, length, fields: rest, body: body.length }
  }
  if (status < 400) return { status, fields, body: sha256(body) }
  const { 'content-length': _length, 'content-type': type = '', ...rest } = fields
  return { status, fields: { ...rest, 'content-type': type.split(';')[0] }, body: body.length === 0 ? '' : JSON.parse(body.toString()) as unknown }
}

interface Row { readonly what: string, readonly status: number, readonly method?: 'GET' | 'HEAD', readonly path?: string, readonly fields?: Record<string, string> }

const ROWS: readonly Row[] = [
  { what: 'a hit', status: 200 },
  { what: 'HEAD', status: 200, method: 'HEAD' },
  { what: 'a range', status: 206, fields: { range: 'bytes=10-19' } },
  { what: 'a range to the end', status: 206, fields: { range: 'bytes=990-' } },
  { what: 'the last bytes', status: 206, fields: { range: 'bytes=-5' } },
  { what: 'a range of HEAD, which has none', status: 200, method: 'HEAD', fields: { range: 'bytes=10-19' } },
  { what: 'a range behind the end', status: 416, fields: { range: 'bytes=1000-' } },
  { what: 'a malformed range', status: 400, fields: { range: 'bytes=9-1' } },
  { what: 'an entity-tag that is known', status: 304, fields: { 'if-none-match': '*' } },
  { what: 'another entity-tag', status: 200, fields: { 'if-none-match': '"sha256-00"' } },
  { what: 'a range of another version', status: 200, fields: { 'if-range': '"sha256-00"', range: 'bytes=10-19' } },
  { what: 'a path that is none', status: 400, path: '/shards/known/shard_99.bin' },
  { what: 'an object that nobody has', status: 404, path: '/shards/unknown/shard_0.bin' },
  { what: 'another scheme than Bearer', status: 200, fields: { authorization: 'Basic eA==' } },
  { what: 'a bearer without a token', status: 200, fields: { authorization: 'Bearer' } },
  { what: 'a query that says nothing', status: 200, path: `${SHARD}?x=y` }
]

const TOKEN_ROWS: readonly Row[] = [
  { what: 'no token', status: 401 },
  { what: 'another token', status: 401, fields: { authorization: 'Bearer another-one-of-viewers' } },
  { what: 'another scheme', status: 401, fields: { authorization: 'Basic eA==' } },
  { what: 'the token as a field', status: 200, fields: { authorization: `Bearer ${TOKEN}` } },
  { what: 'the token in the query', status: 200, path: `${SHARD}?token=${TOKEN}` },
  { what: 'another token in the query', status: 401, path: `${SHARD}?token=another-one-of-viewers` }
]

suite('one answer: HTTP and sessions say the same', { timeout: 240_000 }, () => {
  async function begin (t: TestContext, auth: Record<string, unknown> = {}): Promise<RunningRelay> {
    const node = await rawOrigin(t, ({ socket, path }) => { socket.write(path.includes('unknown') ? 'HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n' : response(BODY)) })
    const relay = await startRelay(t, [{ url: node.url, region: node.region }], { transport: { engine: 'quinn', ...PATIENT_SUPERVISOR }, upstream: PATIENT_UPSTREAM, auth })
    await (await request(`${relay.viewerUrl}${SHARD}`, { headers: { authorization: `Bearer ${TOKEN}` } })).body.dump()
    await until(async () => relay.relay.admin.shards.fills, fills => fills === 0)
    await until(async () => await served(relay, 'http'), bytes => bytes === BODY.length)
    return relay
  }

  for (const [what, rows, auth] of [['without tokens', ROWS, {}], ['where a token is needed', TOKEN_ROWS, { require: true, tokens: [TOKEN] }]] as const) {
    test(what, async t => {
      const relay = await begin(t, auth)
      for (const { what: row, status, method = 'GET', path = SHARD, fields = {} } of rows) {
        const http = await overHttp(relay, method, path, fields)
        const session = await overSession(t, relay, method, path, fields)
        assert.equal(http.status, status, row)
        // Memory and disk are both hits, and which of them it is depends on who asked before; a second may pass between the two.
        const tier = (heard: Heard): Heard => ({ ...heard, fields: Object.fromEntries(Object.entries(heard.fields).map(([name, value]) => [name, name === 'age' ? String(Number(value) < 60) : value.replace(/hit (?:ram|disk)/, 'hit')])) })
        assert.deepEqual(comparable(tier(session)), comparable(tier(http)), row)
      }
    })
  }

  test('both count bytes of objects, not of heads and problems', async t => {
    const relay = await begin(t)
    for (const path of [SHARD, '/shards/unknown/shard_0.bin']) {
      await overHttp(relay, 'GET', path, {})
      await overSession(t, relay, 'GET', path, {})
    }
    await until(async () => [await served(relay, 'http'), await served(relay, 'webtransport')], bytes => bytes[0] === 2 * BODY.length && bytes[1] === BODY.length)
    // One more of each tells that nothing was on its way.
    await overHttp(relay, 'GET', SHARD, { range: 'bytes=0-0' })
    await overSession(t, relay, 'GET', SHARD, { range: 'bytes=0-0' })
    await until(async () => [await served(relay, 'http'), await served(relay, 'webtransport')], bytes => bytes[0] === 2 * BODY.length + 1 && bytes[1] === BODY.length + 1)
  })
})
