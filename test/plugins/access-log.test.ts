import assert from 'node:assert/strict'
import { readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { request } from 'undici'
import { createLogger } from '../../src/base/log.ts'
import { until } from '../../tools/harness/http.ts'
import { PATIENT_SUPERVISOR, PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { openSession, readAll } from '../../tools/harness/quinn-rig.ts'
import { startRelay, type RunningRelay } from '../../tools/harness/relay.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'
import { bytesOf } from '../support/cache.ts'
import { rawOrigin, response } from '../support/raw-origin.ts'

const BODY = bytesOf('access', 1_000)
const PATH = '/shards/QmA/shard_0.bin'
const TRACE = '0af7651916cd43dd8448eb211c80319c'
const TRACEPARENT = `00-${TRACE}-b7ad6b7169203331-01`
const TOKEN = 'a-token-of-sixteen-and-more'
const LIMIT = { timeout: 240_000 }

type Line = Record<string, unknown>

interface Rig extends RunningRelay {
  readonly lines: Line[]
  readonly log: Line[]
  /** Heads of the requests that came to the super-node. */
  readonly heads: readonly string[]
  /** The access log once it has so many lines. */
  logged (count: number): Promise<Line[]>
}

async function setup (t: TestContext, settings: Record<string, Record<string, unknown>> = {}): Promise<Rig> {
  const node = await rawOrigin(t, ({ socket }) => { socket.write(response(BODY, [])) })
  const lines: Line[] = []
  const log: Line[] = []
  const logger = createLogger('info', { write: line => { log.push(JSON.parse(line) as Line) } })
  const running = await startRelay(t, [{ url: node.url, region: node.region }], { upstream: PATIENT_UPSTREAM, ...settings }, { logger, output: line => { lines.push(JSON.parse(line) as Line) } })
  return { ...running, lines, log, heads: node.heads, logged: async count => await until(async () => lines, ({ length }) => length >= count) }
}

async function get (url: string, headers: Record<string, string> = {}) {
  const answer = await request(url, { headers })
  await answer.body.dump()
  return answer
}

async function patch ({ adminUrl }: RunningRelay, body: unknown): Promise<Line> {
  const answer = await request(`${adminUrl}/admin/v1/log`, { method: 'PATCH', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
  assert.equal(answer.statusCode, 200)
  return await answer.body.json() as Line
}

const stored = async ({ relay }: RunningRelay): Promise<void> => { await until(async () => relay.admin.shards.fills, fills => fills === 0) }

suite('the access log of viewer HTTP', () => {
  test('a miss, a hit of a range, what is not there and a refused token each have a record', async t => {
    const rig = await setup(t, { auth: { require: true, tokens: [TOKEN] } })
    const authorization = `Bearer ${TOKEN}`
    const miss = await get(rig.viewerUrl + PATH, { authorization, traceparent: TRACEPARENT, 'user-agent': 'agent "quoted"', referer: `https://a.example/?token=${TOKEN}` })
    await stored(rig)
    await get(rig.viewerUrl + PATH, { authorization, range: 'bytes=0-9', 'x-request-id': 'mine' })
    await get(`${rig.viewerUrl}/shards/QmA/shard_14.bin`, { authorization })
    await get(`${rig.viewerUrl}${PATH}?token=wrong`)
    await get(`${rig.adminUrl}/health`)
    await get(`${rig.adminUrl}/admin/v1/log`)
    const [first, second, third, fourth, fifth] = await rig.logged(5)
    const { time, ms, firstByteMs, superNode, ...rest } = first ?? {}
    assert.deepEqual(rest, {
      msg: 'request',
      kind: 'miss',
      reqId: miss.headers['x-request-id'],
      remote: '127.0.0.1',
      transport: 'http',
      version: '1.1',
      method: 'GET',
      url: PATH,
      object: 'QmA/0',
      status: 200,
      complete: true,
      bytes: BODY.length,
      cache: 'fwd=uri-miss',
      userAgent: 'agent "quoted"',
      referer: 'https://a.example/?token=[redacted]',
      traceId: TRACE
    })
    assert.ok(typeof time === 'string' && Number(firstByteMs) > 0 && Number(ms) >= Number(firstByteMs) && /^127\.0\.0\.1:\d+$/.test(String(superNode)), JSON.stringify(first))
    const of = (line: Line | undefined, ...names: string[]): unknown[] => names.map(name => line?.[name])
    assert.deepEqual(of(second, 'kind', 'reqId', 'range', 'status', 'bytes', 'cache', 'superNode'), ['hit', 'mine', 'bytes=0-9', 206, 10, 'hit', undefined])
    assert.deepEqual(of(third, 'kind', 'status', 'code', 'object', 'cache'), ['other', 400, 'RELAY_ERR_SHARD_PATH', undefined, undefined])
    assert.deepEqual(of(fourth, 'status', 'code', 'object', 'url'), [401, 'RELAY_ERR_VIEWER_UNAUTHORIZED', 'QmA/0', `${PATH}?token=[redacted]`])
    assert.deepEqual(of(fifth, 'kind', 'url'), ['admin', '/admin/v1/log'], 'health is not logged')
    assert.ok(!JSON.stringify([rig.lines, rig.log]).includes(TOKEN))
  })

  test('id and trace of whoever begins a fill go on to the super-node, and those who join it do not split it', async t => {
    const rig = await setup(t)
    const asked = [{ 'x-request-id': 'the-first', traceparent: TRACEPARENT }, { 'x-request-id': 'the-second', traceparent: TRACEPARENT.replace('01', '00') }, { 'x-request-id': 'bad id', traceparent: 'bad' }]
    const answers = await Promise.all(asked.map(async headers => await get(rig.viewerUrl + PATH, headers)))
    assert.deepEqual(answers.map(({ statusCode }) => statusCode), [200, 200, 200])
    assert.equal(rig.heads.length, 1)
    assert.match(rig.heads[0] ?? '', new RegExp(`x-request-id: the-first\r\ntraceparent: 00-${TRACE}-(?!b7ad6b7169203331)[0-9a-f]{16}-01`))
    await get(`${rig.viewerUrl}/shards/QmB/shard_0.bin`, { traceparent: 'bad' })
    assert.match(rig.heads[1] ?? '', /x-request-id: [0-9a-f-]{36}\r\n/)
    assert.doesNotMatch(rig.heads[1] ?? '', /traceparent/)
  })

  test('a file that was rotated goes on in a new one of the same path', async t => {
    const directory = await temporaryDirectory(t)
    const path = join(directory, 'access.log')
    const rig = await setup(t, { access_log: { path, format: 'clf', addresses: 'prefix' } })
    const linesOf = async (file: string): Promise<string[]> => (await readFile(file, 'utf8')).split('\n').slice(0, -1)
    await get(rig.viewerUrl + PATH)
    const [line = ''] = await until(async () => await linesOf(path), ({ length }) => length === 1)
    assert.match(line, /^127\.0\.0\.0 - - \[[^\]]+\] "GET \/shards\/QmA\/shard_0\.bin HTTP\/1\.1" 200 1000 "-" "-"$/)
    await rename(path, `${path}.1`)
    await rig.relay.reopenLogs()
    await get(`${rig.viewerUrl}/nothing`)
    await until(async () => await linesOf(path), ({ length }) => length === 1)
    assert.deepEqual([(await linesOf(`${path}.1`)).length, rig.lines.length], [1, 0])
  })
})

suite('what operators change and see', () => {
  test('level and sampling change at run time, for loggers that exist too', async t => {
    const rig = await setup(t)
    const log = rig.relay.admin.log.child({ plugin: 'a' })
    log.debug('before')
    assert.deepEqual([(await patch(rig, { level: 'debug', sampleHits: 0 }))['level'], rig.relay.admin.viewers.live.current.debug], ['debug', true])
    log.debug('after')
    assert.deepEqual(rig.log.map(({ msg }) => msg).filter(msg => msg === 'before' || msg === 'after'), ['after'])
    await get(rig.viewerUrl + PATH)
    await stored(rig)
    await get(rig.viewerUrl + PATH)
    await patch(rig, { sampleHits: 1 })
    await get(rig.viewerUrl + PATH)
    assert.deepEqual((await rig.logged(4)).map(({ kind }) => kind), ['admin', 'miss', 'admin', 'hit'])
  })

  test('the stream shows what its filter wants, whether it is sampled away or not', async t => {
    const rig = await setup(t, { access_log: { enabled: false } })
    const { body } = await request(`${rig.adminUrl}/admin/v1/log/stream?status=4xx&object=QmA/0`)
    let text = ''
    body.setEncoding('utf8').on('data', (piece: string) => { text += piece }).on('error', () => {})
    await get(rig.viewerUrl + PATH)
    await get(rig.viewerUrl + PATH, { range: 'bytes=5000-' })
    await until(async () => text, seen => seen.includes('event: request'))
    assert.match(text, /^:\n\nid: 1\nevent: request\ndata: \{.*"object":"QmA\/0".*"status":416,"code":"RELAY_ERR_RANGE_UNSATISFIABLE".*\}\n\n$/)
    body.destroy()
    await until(async () => rig.relay.admin.accessLog.stream.listeners, listeners => listeners === 0)
    assert.equal(rig.lines.length, 0)
  })
})

test('streams of sessions are logged as requests over HTTP are, sampled in the gateway, and carry id and trace on', LIMIT, async t => {
  const rig = await setup(t, { transport: { engine: 'quinn', ...PATIENT_SUPERVISOR } })
  const session = await openSession(rig.viewerUrl)
  t.after(() => { session.close() })
  const ask = async (path: string, fields: string): Promise<string> => {
    const stream = await session.openBidi()
    await stream.write(Buffer.from(`GET ${path} HTTP/1.1\r\n${fields}\r\n`))
    const bytes = await readAll(stream)
    await stream.end()
    return bytes.toString('latin1')
  }
  const ofSessions = async (count: number): Promise<Line[]> => await until(async () => rig.lines.filter(({ transport }) => transport === 'webtransport'), ({ length }) => length >= count)
  const answer = await ask(PATH, `x-request-id: over-a-session\r\ntraceparent: ${TRACEPARENT}\r\nuser-agent: player/1\r\nrange: bytes=0-99\r\n`)
  assert.match(answer, /\r\nx-request-id: over-a-session\r\n/)
  assert.match(rig.heads[0] ?? '', new RegExp(`x-request-id: over-a-session\r\ntraceparent: 00-${TRACE}-`))
  const [line] = await ofSessions(1)
  const { time: _time, ms, firstByteMs, superNode, ...rest } = line ?? {}
  assert.deepEqual(rest, {
    msg: 'request',
    kind: 'miss',
    reqId: 'over-a-session',
    remote: '127.0.0.1',
    transport: 'webtransport',
    version: '3.0',
    method: 'GET',
    url: PATH,
    object: 'QmA/0',
    range: 'bytes=0-99',
    status: 206,
    complete: true,
    bytes: 100,
    cache: 'fwd=uri-miss',
    userAgent: 'player/1',
    traceId: TRACE
  })
  assert.ok(Number(firstByteMs) >= 0 && Number(ms) >= 0 && String(superNode).startsWith('127.0.0.1:'), JSON.stringify(line))
  await stored(rig)
  await patch(rig, { sampleHits: 0 })
  assert.match(await ask(PATH, ''), /\r\nx-request-id: [0-9a-f-]{36}\r\n/)
  assert.match(await ask('/shards/QmA/shard_99.bin', ''), /^HTTP\/1\.1 400 /)
  const all = await ofSessions(2)
  assert.deepEqual(all.map(({ kind, status, code }) => [kind, status, code]), [['miss', 206, undefined], ['other', 400, 'RELAY_ERR_SHARD_PATH']], 'the hit was sampled away')
})
