import assert from 'node:assert/strict'
import { suite, test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { request } from 'undici'
import { startSuperNode, syntheticShard } from '../../demo/super-node/server.ts'
import type { ErrorCode } from '../../src/base/errors.ts'
import { startRelay } from '../../tools/harness/relay.ts'
import { assertProblem } from '../support/problem.ts'
import { exchange, head } from '../support/raw-http.ts'

const GOOD = '/shards/syn-300-good/shard_7.bin'

interface Setup {
  readonly viewerUrl: string
  readonly adminUrl: string
  /** The relay lives and serves, and no origin was asked for nonsense. */
  readonly assertHealthy: () => Promise<void>
}

async function setup (t: TestContext, settings: Record<string, Record<string, unknown>> = {}): Promise<Setup> {
  const origin = await startSuperNode({ port: 0 })
  t.after(async () => { await origin.close() })
  const { viewerUrl, adminUrl } = await startRelay(t, [{ url: origin.url, region: origin.region }], settings)
  const assertHealthy = async (): Promise<void> => {
    const { statusCode, body } = await request(viewerUrl + GOOD)
    assert.equal(statusCode, 200)
    assert.deepEqual(Buffer.from(await body.arrayBuffer()), syntheticShard('syn-300-good', 7))
    const asked = Object.keys(origin.stats().byPath).filter(path => path !== GOOD.replace('_7', '_07') && path !== '/health')
    assert.deepEqual(asked, [])
  }
  return { viewerUrl, adminUrl, assertHealthy }
}

suite('paths', () => {
  const cases: [target: string, code: ErrorCode][] = [
    ['/', 'RELAY_ERR_NOT_FOUND'],
    ['/nothing', 'RELAY_ERR_NOT_FOUND'],
    ['/shards', 'RELAY_ERR_NOT_FOUND'],
    ['//shards/a/shard_0.bin', 'RELAY_ERR_NOT_FOUND'],
    ['/SHARDS/a/shard_0.bin', 'RELAY_ERR_NOT_FOUND'],
    ['/player/', 'RELAY_ERR_NOT_FOUND'],
    ['/admin/v1/cache', 'RELAY_ERR_NOT_FOUND'],
    ['/health', 'RELAY_ERR_NOT_FOUND'],
    ['/../etc/passwd', 'RELAY_ERR_NOT_FOUND'],
    ['/shards/', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/a', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/a/', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/a/b/c', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/a/shard_0.bin/', 'RELAY_ERR_SHARD_PATH'],
    ['/shards//shard_0.bin', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/../shard_0.bin', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/../../etc/passwd', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/a/../shard_0.bin', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/./shard_0.bin', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/%2e%2e%2f%2e%2e%2fetc%2fpasswd', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/%2e%2e/shard_0.bin', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/a%2fshard_0.bin', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/a%2Fb/shard_0.bin', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/a%5cb/shard_0.bin', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/a\\b/shard_0.bin', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/%61/shard_0.bin', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/a/shard%5f0.bin', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/a%00b/shard_0.bin', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/a/shard_0.bin%00', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/a/shard_14.bin', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/a/shard_99.bin', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/a/shard_-1.bin', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/a/shard_1e3.bin', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/a/shard_001.bin', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/a/shard_0x1.bin', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/a/shard_.bin', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/a/shard_0.BIN', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/a/shard_0.bin;x', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/a/shard_0.bin#x', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/a/manifest.json.bak', 'RELAY_ERR_SHARD_PATH'],
    [`/shards/${'a'.repeat(129)}/shard_0.bin`, 'RELAY_ERR_SHARD_PATH'],
    [`/shards/${'a'.repeat(10_000)}/shard_0.bin`, 'RELAY_ERR_SHARD_PATH'],
    ['/shards/a.b/shard_0.bin', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/a b/shard_0.bin', 'RELAY_ERR_BAD_REQUEST'],
    ['/shards/é/shard_0.bin', 'RELAY_ERR_BAD_REQUEST'],
    ['/shards/%c3%a9/shard_0.bin', 'RELAY_ERR_SHARD_PATH'],
    ['/shards/%zz/shard_0.bin', 'RELAY_ERR_BAD_REQUEST'],
    ['/shards/%/shard_0.bin', 'RELAY_ERR_BAD_REQUEST'],
    ['/shards/%c3/shard_0.bin', 'RELAY_ERR_BAD_REQUEST'],
    ['/shards/a\u0000b/shard_0.bin', 'RELAY_ERR_BAD_REQUEST'],
    ['*', 'RELAY_ERR_NOT_FOUND'],
    ['shards/a/shard_0.bin', 'RELAY_ERR_BAD_REQUEST'],
    [`/shards/${'a'.repeat(20_000)}/shard_0.bin`, 'RELAY_ERR_HEADERS_TOO_LARGE']
  ]

  test('a path that is not an object is an error with a code, whatever it tries to spell', async t => {
    const { viewerUrl, assertHealthy } = await setup(t)
    for (const [target, code] of cases) {
      assertProblem(await exchange(viewerUrl, Buffer.from(head('GET', target, { connection: 'close' }), 'latin1')), code, target.slice(0, 80))
    }
    await assertHealthy()
  })

  test('a CID of 128 characters is one, and no origin has it', async t => {
    const { viewerUrl } = await setup(t)
    assertProblem(await exchange(viewerUrl, head('GET', `/shards/${'a'.repeat(128)}/shard_0.bin`)), 'RELAY_ERR_SHARD_NOT_FOUND')
  })

  test('the error tells what is wrong with the path', async t => {
    const { viewerUrl } = await setup(t)
    for (const [target, detail] of [
      [`/shards/${'a'.repeat(129)}/shard_0.bin`, /129 characters, at most 128/],
      ['/shards/a/shard_14.bin', /shard 14 does not exist.*0 to 13/],
      ['/shards//shard_0.bin', /CID is empty/],
      ['/shards/a/shard_1e3.bin', /neither shard_<N>\.bin/]
    ] as const) {
      const response = await exchange(viewerUrl, head('GET', target))
      assert.match((JSON.parse(response?.body.toString() ?? '') as { detail: string }).detail, detail)
    }
  })

  test('any target gives an answer, and an error is always a problem', { timeout: 240_000 }, async t => {
    const { viewerUrl, assertHealthy } = await setup(t)
    const alphabet = fc.string({ unit: fc.constantFrom(...'ab/.%25_-:?#&=;\\~shard0.bin'), maxLength: 60 })
    const any = fc.oneof(alphabet, fc.string({ unit: 'binary', maxLength: 40 })).map(tail => `/shards/${tail}`)
    await fc.assert(fc.asyncProperty(any, async target => {
      const response = await exchange(viewerUrl, Buffer.from(head('GET', target, { connection: 'close' }), 'latin1'))
      assert.ok(response !== undefined && response.status >= 400 && response.status < 500, `${target} ${response?.status}`)
      const { code } = JSON.parse(response.body.toString()) as { code: ErrorCode }
      assertProblem(response, code, target)
    }), { numRuns: 200 })
    await assertHealthy()
  })
})

suite('requests', () => {
  test('methods other than GET, HEAD and OPTIONS are refused with 405 and Allow', async t => {
    const { viewerUrl, assertHealthy } = await setup(t)
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'TRACE', 'PROPFIND', 'MKCOL', 'PURGE', 'REPORT']) {
      const response = await exchange(viewerUrl, `${head(method, GOOD, { connection: 'close', 'content-length': '3' })}abc`)
      assertProblem(response, 'RELAY_ERR_METHOD', method)
      assert.equal(response?.headers['allow'], 'GET, HEAD, OPTIONS', method)
    }
    await assertHealthy()
  })

  test('what is not HTTP is answered with 400 on the bare socket', async t => {
    const { viewerUrl, adminUrl, assertHealthy } = await setup(t)
    const garbage: [label: string, bytes: string | Buffer][] = [
      ['words', 'hello\r\n\r\n'],
      ['the old AUTH line', 'AUTH secret\nGET /shards/a/shard_0.bin\n\n'],
      ['a TLS hello', Buffer.from('16030102000100', 'hex')],
      ['the HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
      ['an unknown method', head('BREW', GOOD)],
      ['HTTP/9.9', 'GET / HTTP/9.9\r\nhost: x\r\n\r\n'],
      ['a header without a colon', 'GET / HTTP/1.1\r\nhost: x\r\nnonsense\r\n\r\n'],
      ['a header with a space in its name', 'GET / HTTP/1.1\r\nhost: x\r\na b: c\r\n\r\n'],
      ['a null byte in a header', 'GET / HTTP/1.1\r\nhost: x\r\na: b\0c\r\n\r\n'],
      ['content-length and chunked', `${head('GET', GOOD, { 'content-length': '3', 'transfer-encoding': 'chunked' })}abc`],
      ['two lengths', `${head('GET', GOOD, { 'content-length': '3, 4' })}abc`],
      ['a negative length', head('GET', GOOD, { 'content-length': '-1' })],
      ['no host', 'GET /shards/a/shard_0.bin HTTP/1.1\r\nconnection: close\r\n\r\n']
    ]
    for (const url of [viewerUrl, adminUrl]) {
      for (const [label, bytes] of garbage) assertProblem(await exchange(url, bytes), 'RELAY_ERR_BAD_REQUEST', label)
    }
    await assertHealthy()
  })

  test('a head beyond 16 KiB is refused with 431', async t => {
    const { viewerUrl, adminUrl, assertHealthy } = await setup(t)
    const many = Object.fromEntries(Array.from({ length: 2_000 }, (_, position) => [`x-${position}`, 'value-of-it']))
    for (const url of [viewerUrl, adminUrl]) {
      assertProblem(await exchange(url, head('GET', GOOD, { cookie: 'x'.repeat(20_000) })), 'RELAY_ERR_HEADERS_TOO_LARGE')
      assertProblem(await exchange(url, head('GET', GOOD, many)), 'RELAY_ERR_HEADERS_TOO_LARGE')
    }
    await assertHealthy()
  })

  test('a head that does not arrive in time is answered with 408, and a silent connection is closed', { timeout: 240_000 }, async t => {
    const { viewerUrl, assertHealthy } = await setup(t, { viewer: { request_timeout_ms: 200 } })
    assertProblem(await exchange(viewerUrl, 'GET /shards/a'), 'RELAY_ERR_REQUEST_TIMEOUT')
    assertProblem(await exchange(viewerUrl, 'GET / HTTP/1.1\r\nhost: x\r\n'), 'RELAY_ERR_REQUEST_TIMEOUT')
    await assertHealthy()
  })

  test('a body on GET changes nothing', async t => {
    const { viewerUrl, assertHealthy } = await setup(t)
    for (const request of [`${head('GET', GOOD, { connection: 'close', 'content-length': '5' })}hello`, `${head('GET', GOOD, { connection: 'close', 'transfer-encoding': 'chunked' })}5\r\nhello\r\n0\r\n\r\n`]) {
      const response = await exchange(viewerUrl, request)
      assert.equal(response?.status, 200)
      assert.deepEqual(response.body, syntheticShard('syn-300-good', 7))
    }
    await assertHealthy()
  })

  test('an expectation nobody knows, an upgrade and HTTP/1.0 without a host are served as plain requests', async t => {
    const { viewerUrl } = await setup(t)
    for (const bytes of [head('GET', GOOD, { expect: 'miracles', connection: 'close' }), head('GET', GOOD, { upgrade: 'websocket', connection: 'upgrade' }), `GET ${GOOD} HTTP/1.0\r\n\r\n`]) {
      const response = await exchange(viewerUrl, bytes)
      assert.equal(response?.status, 200)
      assert.deepEqual(response.body, syntheticShard('syn-300-good', 7))
    }
  })

  test('bad ranges are refused with their own code', async t => {
    const { viewerUrl, assertHealthy } = await setup(t)
    for (const range of ['bytes', 'bytes=', 'bytes=-', 'bytes=9-1', 'bytes=a-b', 'bytes=0-1-2', '=', '0-1', `bytes=${'x'.repeat(5_000)}`]) {
      assertProblem(await exchange(viewerUrl, head('GET', GOOD, { range })), 'RELAY_ERR_RANGE_SYNTAX', range.slice(0, 40))
    }
    assertProblem(await exchange(viewerUrl, head('GET', GOOD, { range: 'bytes=300-' })), 'RELAY_ERR_RANGE_UNSATISFIABLE')
    await assertHealthy()
  })

  test('CONNECT is hung up on and the relay lives', async t => {
    const { viewerUrl, assertHealthy } = await setup(t)
    assert.equal(await exchange(viewerUrl, head('CONNECT', 'example.org:443')), undefined)
    await assertHealthy()
  })
})

suite('player', () => {
  test('whatever is asked of the player page, an error is the fault of the asker and leaks no path', async t => {
    const { viewerUrl, assertHealthy } = await setup(t, { viewer: { player: true } })
    const cases: [target: string, headers: Record<string, string>, code: ErrorCode][] = [
      ['/player/nothing.js', {}, 'RELAY_ERR_NOT_FOUND'],
      ['/player/../../package.json', {}, 'RELAY_ERR_NOT_FOUND'],
      ['/player/%2e%2e%2f%2e%2e%2fpackage.json', {}, 'RELAY_ERR_NOT_FOUND'],
      ['/player/..%2f..%2fpackage.json', {}, 'RELAY_ERR_NOT_FOUND'],
      ['/player/%00', {}, 'RELAY_ERR_BAD_REQUEST'],
      ['/player/%zz', {}, 'RELAY_ERR_BAD_REQUEST'],
      ['/player/index.html', { range: 'bytes=99999999-' }, 'RELAY_ERR_RANGE_UNSATISFIABLE'],
      ['/player/index.html', { 'if-match': '"x"' }, 'RELAY_ERR_BAD_REQUEST']
    ]
    for (const [target, headers, code] of cases) {
      const response = await exchange(viewerUrl, head('GET', target, headers))
      assertProblem(response, code, target)
      assert.doesNotMatch(response?.body.toString() ?? '', /work|demo|node_modules/)
    }
    const page = await exchange(viewerUrl, head('GET', '/player/'))
    assert.equal(page?.status, 200)
    assert.match(page.headers['content-security-policy'] ?? '', /default-src 'self'/)
    assert.equal((await exchange(viewerUrl, head('GET', '/')))?.headers['location'], '/player/')
    await assertHealthy()
  })
})

test('errors are counted by route without a label for each path', async t => {
  const { viewerUrl, adminUrl } = await setup(t)
  for (let n = 0; n < 50; n++) await exchange(viewerUrl, head('GET', `/unknown-${n}`))
  const text = await (await request(`${adminUrl}/metrics`)).body.text()
  const counts = text.split('\n').filter(line => line.startsWith('icn_relay_viewer_http_request_duration_seconds_count'))
  assert.deepEqual(counts, ['icn_relay_viewer_http_request_duration_seconds_count{method="GET",route="__unknown__",status_code="404"} 50'])
})
