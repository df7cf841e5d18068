import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect as http2Connect, type ClientHttp2Stream } from 'node:http2'
import { get } from 'node:https'
import { connect as tcpConnect, type Socket } from 'node:net'
import { after, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { connect as tlsConnect, type TLSSocket } from 'node:tls'
import { failsWebSocketTransport } from '../../src/gateway/transports/fails/websocket.ts'
import { zeroMaskedHeader, OPCODE } from '../../src/gateway/transports/fails/websocket-frames.ts'
import type { HandshakeFailure } from '../../src/channel/gateway-counters.ts'
import type { ListenerOptions, TransportListener } from '../../src/gateway/transports/viewer-transport.ts'
import type { TransportSession } from '../../src/protocol/transport-session.ts'
import { connectPonyfill } from './fails-clients.ts'
import { contractTls } from './viewer-transport.ts'

interface Host { listener: TransportListener, failures: HandshakeFailure[], sessions: TransportSession[], violations: string[] }

/** Every listener: one that a failed test left open would keep the process. */
const opened: TransportListener[] = []
after(async () => { await Promise.all(opened.map(async listener => { await listener.close() })) })

async function host (overrides: Partial<ListenerOptions> = {}): Promise<Host> {
  const failures: HandshakeFailure[] = []
  const sessions: TransportSession[] = []
  const violations: string[] = []
  const listener = await failsWebSocketTransport().listen({
    host: '127.0.0.1',
    port: 0,
    tls: contractTls,
    path: '/v1/viewer',
    maxSessions: 8,
    maxStreamsPerSession: 4,
    handshakeTimeoutMs: 5_000,
    idleTimeoutMs: 30_000,
    ...overrides
  }, {
    decide: () => ({ accept: true }),
    session: session => {
      sessions.push(session)
      session.onStream = stream => { stream.read().then(() => stream.end()).catch(() => {}) }
    },
    handshakeFailed: reason => { failures.push(reason) },
    log: (_level, _message, fields) => { violations.push(JSON.stringify(fields)) }
  })
  opened.push(listener)
  return { listener, failures, sessions, violations }
}

async function eventually (condition: () => boolean): Promise<void> {
  while (!condition()) await delay(5)
}

async function secure (port: number): Promise<TLSSocket> {
  const socket = tlsConnect({ host: '127.0.0.1', port, ca: contractTls.cert, ALPNProtocols: ['http/1.1'] })
  socket.on('error', () => {})
  await once(socket, 'secureConnect')
  return socket
}

const UPGRADE = [
  'GET /v1/viewer HTTP/1.1', 'host: relay', 'connection: upgrade', 'upgrade: websocket', 'sec-websocket-version: 13',
  'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==', 'sec-websocket-protocol: webtransport_kDraft1', '', ''
].join('\r\n')

/** A WebSocket up to the 101, then raw bytes. */
async function upgraded (port: number, first: Uint8Array = new Uint8Array(0)): Promise<TLSSocket> {
  const socket = await secure(port)
  socket.write(Buffer.concat([Buffer.from(UPGRADE), first]))
  const [answer] = await once(socket, 'data') as [Buffer]
  assert.match(answer.toString('latin1'), /^HTTP\/1\.1 101 /)
  return socket
}

const gone = (socket: Socket): Promise<unknown> => socket.resume().closed ? Promise.resolve() : once(socket, 'close')

const message = (...capsule: Array<Uint8Array | string>): Buffer => {
  const payload = Buffer.concat(capsule.map(part => typeof part === 'string' ? Buffer.from(part, 'hex') : part))
  return Buffer.concat([zeroMaskedHeader(OPCODE.binary, payload.length), payload])
}

const STREAM = '990b4d3b'
const CLOSE_SESSION = '6843'

async function stillServes (at: Host): Promise<void> {
  const client = await connectPonyfill({ listener: at.listener, port: at.listener.port, path: '/v1/viewer', headers: {}, cert: contractTls.cert })
  const stream = await client.openBidi()
  await stream.write(Buffer.from('x'))
  assert.equal(await stream.read(), null)
  client.close()
  await eventually(() => Object.values(at.listener.sizes()).every(size => size === 0))
}

test('a plain HTTPS request learns what the port is for', { timeout: 240_000 }, async () => {
  const at = await host()
  const [response] = await once(get({ host: '127.0.0.1', port: at.listener.port, ca: contractTls.cert, path: '/' }), 'response') as [{ statusCode: number, resume: () => void }]
  response.resume()
  assert.equal(response.statusCode, 426)
  await stillServes(at)
  await at.listener.close()
})

test('connections that never become sessions are cut after the handshake timeout and counted', { timeout: 240_000 }, async () => {
  // Those that serve have to be done by then, too.
  const at = await host({ handshakeTimeoutMs: 3_000 })
  const silent = tcpConnect(at.listener.port, '127.0.0.1')
  const quiet = await secure(at.listener.port)
  const garbage = tcpConnect(at.listener.port, '127.0.0.1').on('error', () => {})
  garbage.write('GET / HTTP/1.0\r\n\r\n')
  await Promise.all([gone(silent), gone(quiet), gone(garbage)])
  await eventually(() => at.listener.sizes()['connections'] === 0)
  assert.deepEqual([...at.failures].sort(), ['timeout', 'timeout', 'tls'])
  await stillServes(at)
  await at.listener.close()
})

test('a session whose peer died is ended after the idle timeout, one that answers pings is not', { timeout: 240_000 }, async () => {
  const at = await host({ idleTimeoutMs: 400 })
  const dead = await upgraded(at.listener.port)
  dead.pause()
  const client = await connectPonyfill({ listener: at.listener, port: at.listener.port, path: '/v1/viewer', headers: {}, cert: contractTls.cert })
  const [first, second] = at.sessions
  assert.deepEqual(await first?.closed, { code: 0, reason: 'idle timeout', clean: false })
  let ended = false
  client.closed.then(() => { ended = true }, () => {})
  await delay(1_200)
  assert.equal(ended, false, 'three idle timeouts later the living peer is still there')
  assert.equal(at.listener.sizes()['sessions'], 1)
  client.close()
  await second?.closed
  await at.listener.close()
})

test('an HTTP/2 session whose peer lives is kept over the idle timeout', { timeout: 240_000 }, async () => {
  const at = await host({ idleTimeoutMs: 2_500 })
  const client = http2Connect(`https://127.0.0.1:${at.listener.port}`, { ca: contractTls.cert })
  const stream = client.request({ ':method': 'CONNECT', ':protocol': 'webtransport', ':scheme': 'https', ':path': '/v1/viewer' })
  await once(stream, 'response')
  await delay(3_500)
  assert.equal(at.listener.sizes()['sessions'], 1)
  client.destroy()
  await eventually(() => at.listener.sizes()['sessions'] === 0)
  await at.listener.close()
})

const HOSTILE: Array<[string, Buffer]> = [
  ['a 64-bit length that is negative as a number', Buffer.concat([Buffer.of(0x82, 0xff), Buffer.from('00000000fffffff2', 'hex'), Buffer.alloc(4)])],
  ['a frame of 2 GB', zeroMaskedHeader(OPCODE.binary, 2 ** 31 - 1)],
  ['a frame without mask', Buffer.of(0x82, 1, 0)],
  ['text', Buffer.concat([zeroMaskedHeader(OPCODE.text, 1), Buffer.from('x')])],
  ['a close capsule without its code', message(CLOSE_SESSION)],
  ['a close capsule cut in its code', message(CLOSE_SESSION, '00')],
  ['a stream id of ours', message(STREAM, '00', randomBytes(10))],
  ['more streams than it has credit for', Buffer.concat([1, 5, 9, 13, 17, 21].map(id => message(STREAM, Buffer.of(id), 'ff')))],
  ['more bytes than the window', Buffer.concat([message(STREAM, '01', Buffer.alloc(60_000)), message(STREAM, '01', Buffer.alloc(60_000)), message(STREAM, '01', Buffer.alloc(60_000))])],
  ['empty messages and unknown capsules', Buffer.concat([message(), message('3f'), message('bfffffff'), message('990b4d3b'), message('990b4d39'), message('990b4d3d')])]
]

for (const [title, bytes] of HOSTILE) {
  test(`hostile WebSocket client: ${title}`, { timeout: 240_000 }, async () => {
    const at = await host()
    const socket = await upgraded(at.listener.port)
    at.sessions.forEach(session => { session.onStream = () => {} })
    socket.write(bytes)
    await stillServesBeside(at)
    socket.destroy()
    await stillServes(at)
    await at.listener.close()
  })
}

async function stillServesBeside (at: Host): Promise<void> {
  const client = await connectPonyfill({ listener: at.listener, port: at.listener.port, path: '/v1/viewer', headers: {}, cert: contractTls.cert })
  const stream = await client.openBidi()
  await stream.write(Buffer.from('x'))
  assert.equal(await stream.read(), null)
  client.close()
}

test('capsules that arrive with the upgrade request are not lost', { timeout: 240_000 }, async () => {
  const at = await host()
  const socket = await upgraded(at.listener.port, message(STREAM, '01', 'ff'))
  await eventually(() => (at.sessions[0]?.stats().bytesReceived ?? 0) === 1)
  socket.destroy()
  await at.listener.close()
})

test('a WebSocket inside HTTP/2 (RFC 8441) carries a session, and its peer cannot break the parser either', { timeout: 240_000 }, async () => {
  const at = await host()
  const client = http2Connect(`https://127.0.0.1:${at.listener.port}`, { ca: contractTls.cert })
  await once(client, 'remoteSettings')
  const open = async (): Promise<ClientHttp2Stream> => {
    const stream: ClientHttp2Stream = client.request({
      ':method': 'CONNECT', ':protocol': 'websocket', ':scheme': 'https', ':path': '/v1/viewer', 'sec-websocket-version': '13', 'sec-websocket-protocol': 'webtransport_kDraft1'
    })
    stream.on('error', () => {})
    const [headers] = await once(stream, 'response') as [Record<string, unknown>]
    assert.deepEqual([headers[':status'], headers['sec-websocket-protocol']], [200, 'webtransport_kDraft1'])
    return stream
  }
  const good = await open()
  const bad = await open()
  bad.write(message(CLOSE_SESSION, '00'))
  await once(bad.resume(), 'end')
  good.write(message(STREAM, '01', 'ff'))
  await eventually(() => at.sessions[0]?.stats().bytesReceived === 1)
  client.destroy()
  await at.sessions[0]?.closed
  await stillServes(at)
  await at.listener.close()
})

test('random messages of a WebSocket client end at most its own session', { timeout: 240_000 }, async () => {
  const at = await host({ maxSessions: 64 })
  for (let round = 0; round < 40; round++) {
    const socket = await upgraded(at.listener.port)
    const types = ['', STREAM, '990b4d39', '990b4d3a', '990b4d3c', '990b4d3d', '990b4d3e', '990b4d3f', '990b4d40', '990b4d41', '990b4d43', '990b4d44', '78ae', '00']
    for (let index = 0; index < 10; index++) socket.write(message(types[(round + index) % types.length] ?? '', randomBytes(round % 12)))
    socket.end()
    await gone(socket)
  }
  await stillServes(at)
  await at.listener.close()
})

test('random capsules of an HTTP/2 client end at most its own session', { timeout: 240_000 }, async () => {
  const at = await host({ maxSessions: 64 })
  for (let round = 0; round < 20; round++) {
    const client = http2Connect(`https://127.0.0.1:${at.listener.port}`, { ca: contractTls.cert })
    client.on('error', () => {})
    const stream: ClientHttp2Stream = client.request({ ':method': 'CONNECT', ':protocol': 'webtransport', ':scheme': 'https', ':path': '/v1/viewer' })
    stream.on('error', () => {})
    await once(stream, 'response')
    stream.write(round % 2 === 0 ? Buffer.from('684300', 'hex') : randomBytes(200))
    stream.end()
    client.close()
    await delay(10)
    client.destroy()
  }
  await stillServes(at)
  await at.listener.close()
})

test('a flood of pings that nobody reads the answers of is not memory', { timeout: 240_000 }, async () => {
  const at = await host()
  const socket = await upgraded(at.listener.port)
  socket.pause()
  const ping = Buffer.concat(Array.from({ length: 500 }, () => Buffer.concat([zeroMaskedHeader(OPCODE.ping, 125), Buffer.alloc(125)])))
  const before = process.memoryUsage().rss
  // Enough that answers kept would stand far above what client and server in one process grow by anyway.
  for (let round = 0; round < 2_500; round++) {
    if (!socket.write(ping)) await once(socket, 'drain')
  }
  const grown = process.memoryUsage().rss - before
  assert.ok(grown < 100_000_000, `${grown} bytes for 164 MB of pings`)
  socket.destroy()
  await stillServes(at)
  await at.listener.close()
})
