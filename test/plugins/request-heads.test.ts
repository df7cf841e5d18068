import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { request } from 'undici'
import { startSuperNode, syntheticShard, type Faults } from '../../demo/super-node/server.ts'
import { until } from '../../tools/harness/http.ts'
import { makeCertificate } from '../../tools/harness/quinn-rig.ts'
import { assertProblem } from '../support/problem.ts'
import { exchange, head } from '../support/raw-http.ts'
import { startRelay, type RunningRelay } from '../../tools/harness/relay.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'

const PATH = '/shards/syn-300-heads/shard_2.bin'
const BODY = syntheticShard('syn-300-heads', 2)

async function setup (t: TestContext, settings: Record<string, Record<string, unknown>> = {}, faults: Faults = {}): Promise<RunningRelay & { lines: () => Record<string, unknown>[] }> {
  const origin = await startSuperNode({ port: 0, faults })
  t.after(async () => { await origin.close() })
  const written: string[] = []
  const running = await startRelay(t, [{ url: origin.url, region: origin.region }], settings, { output: line => { written.push(line) } })
  return { ...running, lines: () => written.map(line => JSON.parse(line) as Record<string, unknown>) }
}

/** A request with these header lines and no others. */
const raw = (target: string, ...fields: string[]): string => `GET ${target} HTTP/1.1\r\n${fields.map(field => `${field}\r\n`).join('')}\r\n`

test('viewers behind proxies with a via of their own are served', async t => {
  const { viewerUrl } = await setup(t)
  for (const via of ['1.1 kong/3.10.0', '1.1 (squid)', 'nonsense', '1.1 a (b']) {
    assert.equal((await exchange(viewerUrl, head('GET', PATH, { via })))?.status, 200, via)
  }
})

suite('x-forwarded-for', () => {
  test('an address with a port is the address, one bucket for each viewer', async t => {
    const { viewerUrl, lines } = await setup(t, { viewer: { trusted_proxies: ['127.0.0.1', '10.0.0.0/8'] }, limits: { requests_per_second_per_viewer: 3 } })
    const cases: [field: string, remote: string][] = [
      ['203.0.113.1:50001', '203.0.113.1'],
      ['203.0.113.2:50002', '203.0.113.2'],
      ['203.0.113.3', '203.0.113.3'],
      ['[2001:db8::1]:443', '2001:db8::1'],
      ['[2001:db8:0:1::1]', '2001:db8:0:1::1'],
      ['2001:db8:0:2::1', '2001:db8:0:2::1'],
      ['203.0.113.4:1, 10.0.0.5:1234', '203.0.113.4'],
      ['203.0.113.5:1 ,10.0.0.5', '203.0.113.5']
    ]
    for (const [index, [field, remote]] of cases.entries()) {
      const answer = await exchange(viewerUrl, head('GET', PATH, { 'x-forwarded-for': field }))
      assert.equal(answer?.status, 200, field)
      assert.equal(answer.headers['ratelimit-remaining'], '2', field)
      await until(async () => lines().length, count => count === index + 1)
      assert.equal(lines().at(-1)?.['remote'], remote)
    }
  })
})

suite('the host field', () => {
  const CASES: [name: string, ...fields: string[]][] = [
    ['twice', 'host: localhost', 'host: localhost'],
    ['twice, different', 'Host: localhost', 'HOST: evil.example'],
    ['absent'],
    ['with a space', 'host: a b'],
    ['with a path', 'host: localhost/x'],
    ['with user information', 'host: a@localhost'],
    ['with a scheme', 'host: http://localhost'],
    ['with two ports', 'host: localhost:1:2'],
    ['with a port that is none', 'host: localhost:x'],
    ['with a port too large', 'host: localhost:65536'],
    ['with markup', 'host: <script>'],
    ['with a quote', 'host: a"b'],
    ['with a broken address', 'host: [::1'],
    ['with brackets around no address', 'host: [x]'],
    ['a list', 'host: localhost, localhost'],
    ['with an unfinished escape', 'host: a%2']
  ]

  test('twice, absent or malformed is 400 at every entry point of both listeners', async t => {
    const { viewerUrl, adminUrl } = await setup(t)
    for (const [name, ...fields] of CASES) {
      for (const [url, target] of [[viewerUrl, PATH], [viewerUrl, '/v1/transport'], [adminUrl, '/health'], [adminUrl, '/ready'], [adminUrl, '/metrics'], [adminUrl, '/admin/v1/cache'], [adminUrl, '/nothing']] as const) {
        assertProblem(await exchange(url, raw(target, ...fields)), 'RELAY_ERR_BAD_REQUEST', `${target}, host ${name}`)
      }
    }
  })

  test('every form of RFC 9110 is served', async t => {
    const { viewerUrl } = await setup(t)
    for (const host of ['localhost', 'LOCALHOST:9003', 'relay-1.example.org.', '127.0.0.1:1', '[::1]', '[2001:db8::1]:443', 'a_b', 'xn--bcher-kva.example', 'a%20b', 'localhost:', '']) {
      assert.equal((await exchange(viewerUrl, raw(PATH, `host: ${host}`)))?.status, 200, host)
    }
    assert.equal((await exchange(viewerUrl, `GET ${PATH} HTTP/1.0\r\n\r\n`))?.status, 200, 'HTTP/1.0 names none')
  })

  test('a name that was rebound to this machine reads nothing from the admin listener, tokens or not', async t => {
    for (const tokens of [[], [{ token: 'x'.repeat(16), scope: 'read' }]]) {
      const { adminUrl } = await setup(t, { admin: { tokens } })
      for (const target of ['/health', '/ready', '/metrics', '/admin/v1/cache', '/nothing']) {
        for (const host of ['evil.example', 'evil.example:9103', 'localhost.evil.example', '']) {
          assertProblem(await exchange(adminUrl, raw(target, `host: ${host}`, `authorization: Bearer ${'x'.repeat(16)}`)), 'RELAY_ERR_ADMIN_LOOPBACK', `${target} as ${host}`)
        }
        for (const host of ['localhost:9103', '127.0.0.1', '[::1]:9103', '192.0.2.1:9103']) {
          const expected = target === '/nothing' ? 404 : 200
          if (target === '/admin/v1/cache' && tokens.length === 0 && host.startsWith('192')) continue
          assert.equal((await exchange(adminUrl, raw(target, `host: ${host}`, `authorization: Bearer ${'x'.repeat(16)}`)))?.status, expected, `${target} as ${host}`)
        }
      }
    }
  })
})

test('a hit carries its age in seconds, a miss has none', async t => {
  const { viewerUrl, relay } = await setup(t)
  const miss = await request(viewerUrl + PATH)
  await miss.body.dump()
  assert.equal(miss.headers['age'], undefined)
  await until(async () => relay.admin.shards.fills, fills => fills === 0)
  for (const headers of [{}, { range: 'bytes=0-9' }, { 'if-none-match': '*' }]) {
    const hit = await request(viewerUrl + PATH, { headers })
    await hit.body.dump()
    assert.match(String(hit.headers['age']), /^\d+$/, JSON.stringify(headers))
  }
})

suite('a client that closes its half after the request', () => {
  /** Sends the request and FIN together; everything that comes until the relay closes. */
  async function halfClosed (socket: NodeJS.ReadWriteStream): Promise<string> {
    const pieces: Buffer[] = []
    socket.on('data', (piece: Buffer) => { pieces.push(piece) })
    socket.end(head('GET', PATH))
    await new Promise((resolve, reject) => { socket.once('close', resolve).once('error', reject) })
    return Buffer.concat(pieces).toString('latin1')
  }

  test('gets a miss, a hit, and the end of the connection after each', async t => {
    const { viewerUrl, relay } = await setup(t, {}, { latencyMs: 100 })
    const port = Number(new URL(viewerUrl).port)
    for (const source of ['fwd=uri-miss', 'hit']) {
      const answer = await halfClosed(connect({ port, host: '127.0.0.1', allowHalfOpen: true }))
      assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/, source)
      assert.ok(answer.includes(source) && answer.endsWith(BODY.toString('latin1')), source)
      await until(async () => relay.admin.shards.fills, fills => fills === 0)
    }
  })

  test('and so over TLS', async t => {
    const directory = await temporaryDirectory(t)
    const made = makeCertificate()
    const [cert, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')]
    await writeFile(cert, made.cert)
    await writeFile(key, made.key)
    const { viewerUrl } = await setup(t, { tls: { cert, key } }, { latencyMs: 100 })
    const options = { port: Number(new URL(viewerUrl).port), host: '127.0.0.1', ca: made.cert, servername: 'localhost', allowHalfOpen: true, ALPNProtocols: ['http/1.1'] }
    const answer = await halfClosed(connectTls(options))
    assert.ok(answer.startsWith('HTTP/1.1 200 OK\r\n') && answer.endsWith(BODY.toString('latin1')), answer.slice(0, 100))
  })

  test('with nothing under way the connection ends', async t => {
    const { viewerUrl } = await setup(t)
    const socket = connect({ port: Number(new URL(viewerUrl).port), host: '127.0.0.1', allowHalfOpen: true })
    socket.resume().end()
    await new Promise(resolve => { socket.once('close', resolve) })
    assert.equal(socket.readableEnded, true)
  })
})
