import assert from 'node:assert/strict'
import { once } from 'node:events'
import { rename, writeFile } from 'node:fs/promises'
import { connect as connectHttp2, constants, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2'
import { connect as connectTcp } from 'node:net'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { Agent, fetch as fetchWith, request } from 'undici'
import { startSuperNode, syntheticShard, type Faults, type SuperNode } from '../../demo/super-node/server.ts'
import { makeCertificate, openGatewaySession, type TestCertificate } from '../../tools/harness/quinn-rig.ts'
import type { AppDeps } from '../../src/app.ts'
import { connect as connectRelay, systemPlatform, type TransportName } from '../../client/src/node.ts'
import type { FetchLike } from '../../client/src/w3c-types.ts'
import { createLogger } from '../../src/base/log.ts'
import { cacheStats, metric, sha256, until } from '../../tools/harness/http.ts'
import { PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { startRelay, type RunningRelay } from '../../tools/harness/relay.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'

const SIZE = 300_000
const CID = `syn-${SIZE}-tls`
const PATH = `/shards/${CID}/shard_1.bin`

interface Setup extends RunningRelay {
  readonly origin: SuperNode
  readonly certificate: TestCertificate
  readonly url: URL
  replace (): Promise<TestCertificate>
}

async function setup (t: TestContext, settings: Record<string, Record<string, unknown>> = {}, faults: Faults = {}, deps: Partial<AppDeps> = {}): Promise<Setup> {
  const origin = await startSuperNode({ port: 0, faults })
  t.after(async () => { await origin.close() })
  const directory = await temporaryDirectory(t)
  const cert = join(directory, 'cert.pem')
  const key = join(directory, 'key.pem')
  const write = async (): Promise<TestCertificate> => {
    const made = makeCertificate()
    for (const [file, text] of [[key, made.key], [cert, made.cert]] as const) {
      await writeFile(`${file}.new`, text)
      await rename(`${file}.new`, file)
    }
    return made
  }
  const certificate = await write()
  const running = await startRelay(t, [{ url: origin.url, region: origin.region }], { ...settings, upstream: { ...PATIENT_UPSTREAM, ...settings['upstream'] }, tls: { cert, key }, transport: { engine: 'off', ...settings['transport'] } }, deps)
  const url = new URL(running.viewerUrl.replace('http:', 'https:'))
  return { ...running, origin, certificate, url, replace: write }
}

function http2 (t: TestContext, { url }: Setup, ca: string): ClientHttp2Session {
  const session = connectHttp2(url.origin, { ca })
  session.on('error', () => {})
  t.after(() => { session.destroy() })
  return session
}

interface Answer { readonly headers: IncomingHttpHeaders, readonly body: Buffer }

async function get (session: ClientHttp2Session, path: string, headers: Record<string, string> = {}): Promise<Answer> {
  const stream = session.request({ ':path': path, ...headers })
  const answered = once(stream, 'response') as Promise<[IncomingHttpHeaders]>
  const chunks: Buffer[] = []
  stream.on('data', (chunk: Buffer) => { chunks.push(chunk) })
  await Promise.all([answered, once(stream, 'end')])
  return { headers: (await answered)[0], body: Buffer.concat(chunks) }
}

test('with a certificate the viewer listener speaks HTTP/2 and HTTP/1.1, with the same answers', async t => {
  const rig = await setup(t)
  const session = http2(t, rig, rig.certificate.cert)
  const over2 = await get(session, PATH)
  assert.equal(over2.headers[':status'], 200)
  assert.deepEqual(over2.body, syntheticShard(CID, 1))
  assert.equal((session.socket as TLSSocket).alpnProtocol, 'h2')
  await until(async () => await cacheStats(rig.adminUrl), stats => stats.fills === 0)

  const agent = new Agent({ connect: { ca: rig.certificate.cert }, allowH2: false })
  t.after(async () => { await agent.destroy() })
  const response = await request(rig.url.origin + PATH, { dispatcher: agent })
  assert.deepEqual(Buffer.from(await response.body.arrayBuffer()), syntheticShard(CID, 1))
  const again = await get(session, PATH)
  for (const name of ['etag', 'repr-digest', 'content-length', 'content-type', 'accept-ranges', 'cache-control', 'access-control-allow-origin'] as const) {
    assert.equal(again.headers[name], response.headers[name], name)
  }
  const partial = await get(session, PATH, { range: 'bytes=100-199' })
  assert.deepEqual([partial.headers[':status'], partial.body], [206, syntheticShard(CID, 1).subarray(100, 200)])
  const missing = await get(session, '/shards/none/shard_0.bin')
  assert.deepEqual([missing.headers[':status'], (JSON.parse(missing.body.toString()) as { code: string }).code], [404, 'RELAY_ERR_SHARD_NOT_FOUND'])
  const refused = await get(session, PATH, { ':method': 'DELETE' })
  assert.deepEqual([refused.headers[':status'], refused.headers['allow']], [405, 'GET, HEAD, OPTIONS'])
  for (const [where, answer] of [['h2', await get(session, '/v1/transport')], ['h1', { body: Buffer.from(await (await request(`${rig.url.origin}/v1/transport`, { dispatcher: agent })).body.arrayBuffer()) }]] as const) {
    assert.deepEqual(JSON.parse(answer.body.toString()), { region: 'NA-WEST', http: { url: rig.url.origin } }, where)
  }
})

test('two hundred responses at the same time on one HTTP/2 connection, memory hits and misses, all right and all counted', { timeout: 240_000 }, async t => {
  const rig = await setup(t)
  const session = http2(t, rig, rig.certificate.cert)
  for (let time = 0; time < 4; time++) await get(session, PATH)
  const before = await metric(rig.adminUrl, 'icn_relay_bytes_served_total', '{transport="http"}')
  const bodies = await Promise.all(Array.from({ length: 200 }, async (_, count) => await get(session, count % 2 === 0 ? PATH : `/shards/${CID}/shard_${2 + count % 10}.bin`)))
  assert.deepEqual([...new Set(bodies.map(({ headers }) => headers[':status']))], [200])
  for (const [count, { body }] of bodies.entries()) assert.equal(sha256(body), sha256(syntheticShard(CID, count % 2 === 0 ? 1 : 2 + count % 10)))
  assert.equal(await metric(rig.adminUrl, 'icn_relay_bytes_served_total', '{transport="http"}') - before, 200 * SIZE)
  await until(async () => await cacheStats(rig.adminUrl), stats => stats.disk.openFiles === 0)
})

test('a body that breaks off ends with a reset and never looks complete', { timeout: 240_000 }, async t => {
  const rig = await setup(t, {}, { truncateAtBytes: 20_000 })
  const session = http2(t, rig, rig.certificate.cert)
  const stream = session.request({ ':path': PATH })
  let received = 0
  stream.on('error', () => {})
  stream.on('data', (chunk: Buffer) => { received += chunk.length })
  await new Promise<void>(resolve => { stream.once('close', () => { resolve() }) })
  assert.ok(received < SIZE)
  assert.notEqual(stream.rstCode, constants.NGHTTP2_NO_ERROR)
  await until(async () => await cacheStats(rig.adminUrl), stats => stats.disk.openFiles === 0 && stats.fills === 0)
})

test('streams a viewer abandons give everything back, and other streams go on', { timeout: 240_000 }, async t => {
  const rig = await setup(t)
  const session = http2(t, rig, rig.certificate.cert)
  await get(session, PATH)
  const served = (): Promise<number> => metric(rig.adminUrl, 'icn_relay_shard_serve_latency_seconds_count', '{transport="http",result="hit",stage="complete"}')
  for (let count = 0; count < 100; count++) {
    const stream = session.request({ ':path': PATH })
    stream.on('error', () => {})
    await once(stream, 'response')
    stream.close(constants.NGHTTP2_CANCEL)
  }
  assert.deepEqual((await get(session, PATH)).body, syntheticShard(CID, 1))
  await until(async () => await cacheStats(rig.adminUrl), stats => stats.disk.openFiles === 0)
  assert.ok(await served() < 100, 'abandoned responses do not count as complete')
})

test('a new certificate is used for new connections, and those that exist stay', { timeout: 240_000 }, async t => {
  const rig = await setup(t, { transport: { engine: 'quinn' } })
  const session = http2(t, rig, rig.certificate.cert)
  await get(session, PATH)
  const agent = new Agent({ connect: { ca: rig.certificate.cert }, connections: 1, allowH2: false })
  t.after(async () => { await agent.destroy() })
  await (await request(rig.url.origin + PATH, { dispatcher: agent })).body.arrayBuffer()
  const next = await rig.replace()
  await rig.relay.reload()
  const socket = connectTls({ host: rig.url.hostname, port: Number(rig.url.port), ca: next.cert, ALPNProtocols: ['h2'] })
  await once(socket, 'secureConnect')
  assert.equal(socket.getPeerCertificate().fingerprint256.replaceAll(':', '').toLowerCase(), next.hash.toString('hex'))
  socket.destroy()
  assert.deepEqual((await get(session, PATH)).body, syntheticShard(CID, 1))
  await (await request(rig.url.origin + PATH, { dispatcher: agent })).body.arrayBuffer()
  // The gateway has it too.
  const viewer = await until(async () => await openGatewaySession(rig.relay).catch(() => undefined), opened => opened !== undefined)
  viewer?.close()
  // A pair that does not belong together changes nothing.
  await assert.doesNotReject(rig.relay.reload())
})

test('a new certificate moves the viewers of HTTP/3: no request fails, and they come back by themselves', { timeout: 240_000 }, async t => {
  const rig = await setup(t, { transport: { engine: 'quinn', heartbeat_ms: 50 } })
  // Whichever certificate: the sessions are pinned all the same.
  const dispatcher = new Agent({ connect: { rejectUnauthorized: false } })
  t.after(async () => { await dispatcher.destroy() })
  const fetch: FetchLike = async (url, init) => await fetchWith(url, { ...init, dispatcher })
  const seen: TransportName[] = []
  const client = await connectRelay(rig.url.origin, {
    platform: { ...systemPlatform(), fetch }, transports: ['webtransport', 'http'], connectTimeoutMs: 20_000, onTransport: ({ transport }) => { seen.push(transport) }
  })
  t.after(() => { client.close() })
  const back = { yet: false }
  const fetching = (async () => {
    for (let part = 0; !back.yet; part = (part + 1) % 14) {
      const { bytes } = await client.fetchShard(CID, part)
      assert.equal(sha256(bytes), sha256(syntheticShard(CID, part)))
    }
  })()
  assert.deepEqual(seen, ['webtransport'])
  await rig.replace()
  await rig.relay.reload()
  await Promise.race([fetching, until(async () => seen, transports => transports.length >= 2 && transports.at(-1) === 'webtransport')])
  back.yet = true
  await fetching
  assert.equal((await client.fetchShard(CID, 0)).transport, 'webtransport')
})

test('what does not speak TLS, or does not finish, is closed and harms nobody', { timeout: 240_000 }, async t => {
  const rig = await setup(t, { viewer: { request_timeout_ms: 500 } })
  const plain = connectTcp(Number(rig.url.port), rig.url.hostname)
  plain.on('error', () => {})
  plain.write('GET / HTTP/1.1\r\n\r\n')
  const silent = connectTcp(Number(rig.url.port), rig.url.hostname)
  silent.on('error', () => {})
  await Promise.all([plain, silent].map(async socket => {
    socket.resume()
    await once(socket, 'close')
  }))
  assert.equal((await get(http2(t, rig, rig.certificate.cert), PATH)).headers[':status'], 200)
})

test('stop: an HTTP/2 response under way finishes, an idle connection is told, and one that never reads is cut at the deadline', { timeout: 240_000 }, async t => {
  const rig = await setup(t, { viewer: { stop_timeout_ms: 3_000 } }, { bytesPerSecond: 400_000 })
  const idle = http2(t, rig, rig.certificate.cert)
  await once(idle, 'connect')
  const busy = http2(t, rig, rig.certificate.cert)
  const reading = get(busy, PATH)
  const stuck = connectHttp2(rig.url.origin, { ca: rig.certificate.cert, settings: { initialWindowSize: 1_000 } })
  stuck.on('error', () => {})
  const unread = stuck.request({ ':path': PATH })
  unread.on('error', () => {})
  await once(unread, 'response')
  const began = Date.now()
  const closing = rig.relay.close()
  await once(idle, 'close')
  assert.ok(Date.now() - began < 2_000)
  assert.deepEqual((await reading).body, syntheticShard(CID, 1))
  await closing
  assert.ok(Date.now() - began < 5_000, `${Date.now() - began} ms`)
  stuck.destroy()
})

test('TLS handshakes of one address have a rate: what exceeds it is reset on accept, before TLS costs anything', { timeout: 240_000 }, async t => {
  const rig = await setup(t, { limits: { handshakes_per_second_per_ip: 5 } })
  const outcomes = await Promise.all(Array.from({ length: 40 }, async () => {
    const socket = connectTls({ port: Number(rig.url.port), host: '127.0.0.1', rejectUnauthorized: false })
    t.after(() => { socket.destroy() })
    return await once(socket, 'secureConnect').then(() => 'agreed', () => 'refused')
  }))
  const refused = outcomes.filter(outcome => outcome === 'refused').length
  // A second or two may pass on a busy machine, and each brings five more.
  assert.ok(refused >= 1 && refused < 40, String(refused))
  assert.equal(await metric(rig.adminUrl, 'icn_relay_viewer_handshake_failures_total', '{reason="rate-address"}'), refused)
})

test('over HTTP/2 a request names one host', async t => {
  const rig = await setup(t)
  const session = http2(t, rig, rig.certificate.cert)
  const authority = rig.url.host
  for (const [headers, status] of [
    [{}, 200],
    [{ host: authority }, 200],
    [{ ':authority': 'relay.example', host: 'RELAY.example' }, 200],
    [{ ':authority': authority, host: 'evil.example' }, 400],
    [{ ':authority': 'relay.example:99999' }, 400]
  ] as const) {
    const answer = await get(session, PATH, headers)
    assert.equal(answer.headers[':status'], status, JSON.stringify(headers))
  }
})

/** The protocol that a client with these options gets, or the code of its failure. */
async function agreed (port: number, options: ConnectionOptions): Promise<string> {
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options })
  try {
    await once(socket, 'secureConnect')
    return `${socket.getProtocol() ?? ''} ${socket.getCipher().name}`
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error)
  } finally {
    socket.destroy()
  }
}

const WEAK = ['ECDHE-RSA-AES128-SHA', 'ECDHE-RSA-AES128-SHA256', 'ECDHE-RSA-AES256-SHA384', 'ECDHE-ECDSA-AES128-SHA', 'ECDHE-ECDSA-AES128-SHA256', 'AES128-GCM-SHA256', 'AES128-SHA', 'AES256-SHA256']

test('TLS 1.2 without forward secrecy or with CBC is refused, on both ports, also after the certificate was replaced', { timeout: 240_000 }, async t => {
  const rig = await setup(t, { transport: { engine: 'auto' } })
  await until(async () => rig.relay.admin.viewers.started(), started => started)
  const websocket = rig.relay.admin.viewers.listening()?.open.websocket?.port
  assert.ok(websocket !== undefined)
  const check = async (): Promise<void> => {
    for (const port of [Number(rig.url.port), websocket]) {
      for (const ciphers of WEAK) {
        const outcome = await agreed(port, { maxVersion: 'TLSv1.2', ciphers: `${ciphers}:@SECLEVEL=0` })
        assert.match(outcome, /^(?:ERR_SSL|ECONNRESET|EPROTO)/, `${port} ${ciphers}`)
      }
      assert.match(await agreed(port, { maxVersion: 'TLSv1.2' }), /^TLSv1\.2 ECDHE-ECDSA-(?:AES\d+-GCM-SHA\d+|CHACHA20-POLY1305)$/)
      assert.match(await agreed(port, {}), /^TLSv1\.3 /)
      assert.match(await agreed(port, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT:@SECLEVEL=0' }), /^(?:ERR_SSL|ECONNRESET|EPROTO)/)
    }
  }
  await check()
  const changed = new Promise<void>(resolve => { rig.relay.admin.certificates.onChange(() => { resolve() }) })
  await rig.replace()
  await rig.relay.reload()
  await changed
  await check()
})

test('a client that offers HTTP/1.0 only is answered', async t => {
  const rig = await setup(t)
  const socket = connectTls({ port: Number(rig.url.port), host: '127.0.0.1', ca: rig.certificate.cert, servername: 'localhost', ALPNProtocols: ['http/1.0'] })
  await once(socket, 'secureConnect')
  assert.equal(socket.alpnProtocol, 'http/1.0')
  const pieces: Buffer[] = []
  socket.on('data', (piece: Buffer) => { pieces.push(piece) })
  socket.write(`GET ${PATH} HTTP/1.0\r\n\r\n`)
  await once(socket, 'close')
  const answer = Buffer.concat(pieces)
  assert.match(answer.toString('latin1', 0, 15), /^HTTP\/1\.1 200 OK/)
  assert.ok(answer.subarray(-SIZE).equals(syntheticShard(CID, 1)))
})

test('a method that is none of HTTP is 405 on every path, limited like any request, and one line each', async t => {
  const written: string[] = []
  const logger = createLogger('info', { write: line => { written.push(line) } })
  const lines: Record<string, unknown>[] = []
  const rig = await setup(t, { limits: { requests_per_second_per_viewer: 4 } }, {}, { logger, output: line => { lines.push(JSON.parse(line) as Record<string, unknown>) } })
  assert.ok(written.some(line => line.includes(`"Server listening at ${rig.url.origin}"`)), 'the log says https')
  const session = http2(t, rig, rig.certificate.cert)
  const statuses: number[] = []
  for (const path of [PATH, '/nothing', '/v1/transport', '/', ...Array.from({ length: 30 }, () => '/nothing')]) {
    const answer = await get(session, path, { ':method': 'FOO' })
    statuses.push(Number(answer.headers[':status']))
    if (Number(answer.headers[':status']) === 405) assert.deepEqual([answer.headers['allow'], (JSON.parse(answer.body.toString()) as { code: string }).code], ['GET, HEAD, OPTIONS', 'RELAY_ERR_METHOD'])
  }
  assert.deepEqual(statuses.slice(0, 4), [405, 405, 405, 405])
  assert.ok(statuses.includes(429) && statuses.every(status => status === 405 || status === 429), statuses.join())
  await until(async () => lines.length, count => count === statuses.length)
  assert.ok(lines.every(line => line['msg'] === 'request' && line['method'] === 'FOO' && JSON.stringify(line).length < 500), JSON.stringify(lines[0]))
})
