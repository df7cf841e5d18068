import assert from 'node:assert/strict'
import { suite, test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { request } from 'undici'
import { startSuperNode } from '../../../demo/super-node/server.ts'
import { createLogger, setLevel } from '../../../src/base/log.ts'
import { loggedUrl, MAX_LOGGED_CHARS, redactUrl } from '../../../src/base/logged-text.ts'
import { checkConfig } from '../../../src/config/config.ts'
import { until } from '../../../tools/harness/http.ts'
import { startRelay } from '../../../tools/harness/relay.ts'
import { exchange, head } from '../../support/raw-http.ts'

const SECRET = 'hunter2-hunter2-hunter2'

/** A logger at the most talkative level and what it has written. */
function capture (): { logger: ReturnType<typeof createLogger>, text: () => string, lines: () => Record<string, unknown>[] } {
  const written: string[] = []
  const logger = createLogger('trace', { write: line => { written.push(line) } })
  return { logger, text: () => written.join(''), lines: () => written.map(line => JSON.parse(line) as Record<string, unknown>) }
}

test('another level is that of the children too, and a child of later begins with it', () => {
  const { logger, lines } = capture()
  const child = logger.child({ plugin: 'a' }).child({ inner: true })
  setLevel(logger, 'warn')
  child.info('left out')
  logger.child({ plugin: 'b' }).info('left out')
  setLevel(logger, 'debug')
  child.debug('written')
  assert.deepEqual(lines().map(({ msg, plugin }) => [msg, plugin]), [['written', 'a']])
})

suite('a token never reaches the log', () => {
  test('as a header, at any depth somebody would log', () => {
    const { logger, text } = capture()
    const authorization = `Bearer ${SECRET}`
    logger.info({ authorization }, 'a')
    logger.info({ headers: { authorization } }, 'b')
    logger.info({ req: { headers: { authorization } } }, 'c')
    logger.child({ headers: { authorization } }).info('d')
    logger.info({ token: SECRET }, 'e')
    logger.info({ query: { token: SECRET } }, 'f')
    logger.info({ req: { query: { token: SECRET } } }, 'g')
    assert.equal(text().split('\n').length, 8)
    assert.doesNotMatch(text(), /hunter2/)
  })

  test('in a dump of the configuration', () => {
    const { logger, text } = capture()
    const keys = [{ kid: 'a', secret: `${SECRET}-for-signing-urls` }]
    const config = checkConfig({ admin: { tokens: [{ token: SECRET, scope: 'read' }] }, auth: { tokens: [SECRET, { token: `${SECRET}2` }], jwt: { hs256_secret: `${SECRET}-for-signing-jwts` }, signed_urls: { keys } } })
    logger.info(config, 'a')
    logger.info({ config }, 'b')
    logger.info({ admin: config.admin, auth: config.auth }, 'c')
    logger.info(config.auth, 'c2')
    logger.info({ jwt: config.auth.jwt, keys: config.auth.signed_urls }, 'c3')
    logger.info({ tokens: config.admin.tokens }, 'd')
    logger.info({ auth: { tokens: [SECRET] } }, 'e')
    logger.info({ config: { auth: { tokens: [SECRET] } } }, 'f')
    assert.doesNotMatch(text(), /hunter2/)
    assert.match(text(), /"\[redacted\]"/)
  })

  test('in a URL, whatever the spelling of the parameter', () => {
    for (const [url, expected] of [
      ['/a?token=x', '/a?token=[redacted]'],
      ['/a?b=1&token=x&c=2', '/a?b=1&token=[redacted]&c=2'],
      ['/a?TOKEN=x', '/a?TOKEN=[redacted]'],
      ['/a?%74oken=x', '/a?%74oken=[redacted]'],
      ['/a?token=x=y', '/a?token=[redacted]'],
      ['/a?token=x?y', '/a?token=[redacted]'],
      ['/a?token=x&token=y', '/a?token=[redacted]&token=[redacted]'],
      ['/a?%zz=1&token=x', '/a?%zz=1&token=[redacted]'],
      ['/a?token=a#b', '/a?token=[redacted]'],
      ['/a?token=a#b&c=2', '/a?token=[redacted]&c=2'],
      ['/a?b=1#token=x', '/a?b=1#token=[redacted]'],
      ['/a?b#token=x#y?z', '/a?b#token=[redacted]'],
      ['/v1/viewer?ticket=x&viewer=y', '/v1/viewer?ticket=[redacted]&viewer=y'],
      ['/a?TICKE%54=x', '/a?TICKE%54=[redacted]'],
      ['/a?sig=x', '/a?sig=[redacted]'],
      ['/a?cid=b&tokens=1', '/a?cid=b&tokens=1'],
      ['/a?token', '/a?token'],
      ['/a', '/a']
    ] as const) assert.equal(redactUrl(url), expected)
    const name = fc.tuple(...[...'token'].map(char => fc.constantFrom(char, char.toUpperCase(), `%${char.charCodeAt(0).toString(16)}`))).map(chars => chars.join(''))
    const other = fc.tuple(fc.string({ unit: fc.constantFrom(...'abc%=?/+#') }), fc.string({ unit: fc.constantFrom(...'xyz%=?/+#') })).map(pair => pair.join('='))
    fc.assert(fc.property(fc.array(other), name, fc.array(other), (before, token, after) => {
      assert.doesNotMatch(redactUrl(`/shards/a?${[...before, `${token}=x#${SECRET}`, ...after].join('&')}`), /hunter2/)
    }))
  })
})

test('a URL of any length makes a line of bounded length, and the cut shows no token', () => {
  assert.equal(loggedUrl('/a?b=c'), '/a?b=c')
  const long = `/shards/${'a'.repeat(14_000)}`
  assert.equal(loggedUrl(long), `${long.slice(0, MAX_LOGGED_CHARS)}… (14008 characters)`)
  fc.assert(fc.property(fc.nat({ max: 600 }), fc.nat({ max: 600 }), (before, after) => {
    const line = loggedUrl(`/${'p'.repeat(before)}?to%6ben=${SECRET}${'q'.repeat(after)}`)
    assert.ok(!line.includes('hunter2') && line.length < MAX_LOGGED_CHARS + 40)
  }))
})

suite('requests', () => {
  async function relay (t: TestContext) {
    const origin = await startSuperNode({ port: 0, faults: { match: 'slow', bytesPerSecond: 200_000 } })
    t.after(async () => { await origin.close() })
    const { logger, text } = capture()
    const written: string[] = []
    const running = await startRelay(t, [{ url: origin.url, region: origin.region }], { access_log: { scrapes: true }, admin: { tokens: [{ token: `${SECRET}-right`, scope: 'read' }] } }, { logger, output: line => { written.push(line) } })
    return { ...running, text: () => text() + written.join(''), requests: () => written.map(line => JSON.parse(line) as Record<string, unknown>) }
  }

  test('tokens sent in headers and URLs, to every answer there is, are not in the log', async t => {
    const { viewerUrl, adminUrl, text, requests } = await relay(t)
    const authorization = `Bearer ${SECRET}-right`
    const targets = [
      `${viewerUrl}/shards/syn-100-a/shard_0.bin?token=${SECRET}`,
      `${viewerUrl}/shards/nothing/shard_0.bin?token=${SECRET}`,
      `${viewerUrl}/shards/bad?token=${SECRET}`,
      `${viewerUrl}/nothing?token=${SECRET}`,
      `${adminUrl}/admin/v1/cache?token=${SECRET}`,
      `${adminUrl}/admin/v1/cache/shards?limit=x&token=${SECRET}`,
      `${adminUrl}/admin/v1/upstreams?%74oken=${SECRET}`
    ]
    for (const target of targets) await (await request(target, { headers: { authorization } })).body.dump()
    await (await request(`${adminUrl}/admin/v1/cache`, { headers: { authorization: `Bearer ${SECRET}-wrong` } })).body.dump()
    // The router refuses this one before any hook runs, and its message repeats the URL.
    await exchange(viewerUrl, head('GET', `/shards/%zz?token=${SECRET}`, { authorization }))
    await until(async () => requests().length, count => count === targets.length + 2)
    assert.doesNotMatch(text(), /hunter2/)
  })

  test('every answer leaves one line with its id, listener, status and duration', async t => {
    const { viewerUrl, adminUrl, requests } = await relay(t)
    const answers = []
    for (const target of [`${viewerUrl}/shards/syn-100-a/shard_0.bin`, `${viewerUrl}/shards/%zz`, `${viewerUrl}/nothing`, `${adminUrl}/health`]) {
      const response = await request(target)
      await response.body.dump()
      answers.push({ kind: target.endsWith('0.bin') ? 'miss' : target.startsWith(viewerUrl) ? 'other' : 'scrape', reqId: response.headers['x-request-id'], status: response.statusCode, complete: true })
    }
    await until(async () => requests().length, count => count === answers.length)
    assert.deepEqual(requests().map(({ kind, reqId, status, complete }) => ({ kind, reqId, status, complete })), answers)
    for (const line of requests()) assert.ok(typeof line['ms'] === 'number' && line['remote'] === '127.0.0.1' && line['method'] === 'GET')
    assert.equal(requests()[0]?.['cache'], 'fwd=uri-miss')
  })

  test('a viewer who leaves in the middle leaves a line that says so', async t => {
    const { viewerUrl, requests } = await relay(t)
    const response = await request(`${viewerUrl}/shards/syn-1000000-slow/shard_0.bin`)
    response.body.on('error', () => {}).destroy()
    await until(async () => requests().length, count => count === 1)
    assert.equal(requests()[0]?.['complete'], false)
    assert.equal(requests()[0]?.['status'], 200)
  })
})
