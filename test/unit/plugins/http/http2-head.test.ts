import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { suite, test, type TestContext } from 'node:test'
import { connect, type TLSSocket } from 'node:tls'
import { createSecureServer } from '../../../../src/plugins/http/secure-server.ts'
import { createSelfSigned } from '../../../../src/plugins/tls/self-signed.ts'

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
const [HEADERS, RST_STREAM, SETTINGS, PING, CONTINUATION] = [1, 3, 4, 6, 9]
const ACK = 1
const END_STREAM = 1
const END_HEADERS = 4
const HEAD_MS = 400

/** RFC 9113 §4.1. */
function frame (type: number, flags: number, stream: number, payload: Buffer, length = payload.length): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** A head for a path, in HPACK without Huffman (RFC 7541 §6). */
function block (path: string): Buffer {
  const text = (value: string): Buffer => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)])
  return Buffer.concat([Buffer.from([0x82, 0x87, 0x04]), text(path), Buffer.from([0x01]), text('localhost')])
}

interface Rig {
  readonly socket: TLSSocket
  /** Answers those that have come, and those to come; never within a head. */
  answerPings (this: void): void
  /** Waits for a frame of the server. */
  heard (this: void, type: number, flags: number, stream: number): Promise<void>
  /** When the connection has ended, ms after the call. */
  ended (this: void): Promise<number>
}

/** A server whose `/slow` sends a byte every 20 ms, and a raw HTTP/2 connection to it. */
async function rig (t: TestContext): Promise<Rig> {
  const material = createSelfSigned(['localhost'], Date.now())
  const server = createSecureServer({ tls: material, http: {}, idleTimeoutMs: 60_000, handshakeTimeoutMs: 60_000, headTimeoutMs: HEAD_MS }, (_request, response) => {
    response.writeHead(200)
    const writing = setInterval(() => { response.write('x') }, 20)
    response.once('close', () => { clearInterval(writing) })
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  const socket = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'] })
  t.after(() => { socket.destroy() })
  socket.on('error', () => {})
  await once(socket, 'secureConnect')
  socket.write(Buffer.concat([Buffer.from(PREFACE), frame(SETTINGS, 0, 0, Buffer.alloc(0)), frame(HEADERS, END_STREAM | END_HEADERS, 1, block('/slow'))]))
  const start = performance.now()
  const closed = once(socket, 'close').then(() => performance.now() - start)
  let received = Buffer.alloc(0)
  const frames: string[] = []
  let news = (): void => {}
  const heard = async (...wanted: [number, number, number]): Promise<void> => {
    while (!frames.includes(wanted.join())) await new Promise<void>(resolve => { news = resolve })
    frames.splice(frames.indexOf(wanted.join()), 1)
  }
  const pings: Buffer[] = []
  let answering = false
  const answerPings = (): void => {
    answering = true
    for (const ping of pings.splice(0)) socket.write(frame(PING, ACK, 0, ping))
  }
  socket.on('data', (bytes: Buffer) => {
    received = Buffer.concat([received, bytes])
    for (let length = 0; received.length >= 9 && received.length >= (length = 9 + received.readUIntBE(0, 3)); received = received.subarray(length)) {
      const [type, flags] = [received.readUInt8(3), received.readUInt8(4)]
      frames.push([type, flags, received.readUInt32BE(5)].join())
      if (type === PING && flags !== ACK) pings.push(received.subarray(9, length))
    }
    if (answering) answerPings()
    news()
  })
  await heard(HEADERS, END_HEADERS, 1)
  return { socket, answerPings, heard, ended: async () => await closed }
}

/** Writes a piece of `bytes` every so often until the connection ends. */
function drip (socket: TLSSocket, pieces: Iterable<Buffer>, everyMs: number): void {
  const left = pieces[Symbol.iterator]()
  const timer = setInterval(() => {
    const next = left.next()
    if (next.done !== true && socket.writable) socket.write(next.value)
  }, everyMs)
  socket.once('close', () => { clearInterval(timer) })
}

suite('an HTTP/2 head that never ends is timed out, although a response of its connection goes on', () => {
  test('HEADERS without END_HEADERS, and CONTINUATION frames that drip', { timeout: 240_000 }, async t => {
    const { socket, ended } = await rig(t)
    socket.write(frame(HEADERS, END_STREAM, 3, block('/never')))
    drip(socket, Array.from({ length: 7 }, () => frame(CONTINUATION, 0, 3, Buffer.alloc(0))), HEAD_MS / 2)
    const ms = await ended()
    assert.ok(ms >= HEAD_MS && ms < 3_000, `${ms} ms`)
  })

  test('a HEADERS frame whose bytes drip', { timeout: 240_000 }, async t => {
    const { socket, ended } = await rig(t)
    socket.write(frame(HEADERS, END_STREAM | END_HEADERS, 3, block('/never'), 10_000))
    drip(socket, Array.from({ length: 1_000 }, () => Buffer.from([0])), 20)
    const ms = await ended()
    assert.ok(ms >= HEAD_MS && ms < 3_000, `${ms} ms`)
  })

  test('a head that ends in time is served, and one that is refused has ended: the connection stays', { timeout: 240_000 }, async t => {
    const { socket, answerPings, heard, ended } = await rig(t)
    const head = block('/late')
    socket.write(frame(HEADERS, END_STREAM, 3, head.subarray(0, 5)))
    await heard(PING, 0, 0)
    socket.write(frame(CONTINUATION, END_HEADERS, 3, head.subarray(5)))
    await heard(HEADERS, END_HEADERS, 3)
    answerPings()
    // A field name in capitals (RFC 9113 §8.2.1); nobody hears of the request.
    socket.write(frame(HEADERS, END_STREAM | END_HEADERS, 5, Buffer.concat([block('/capitals'), Buffer.from([0, 1, 0x58, 1, 0x79])])))
    await heard(RST_STREAM, 0, 5)
    const over = ended()
    assert.equal(await Promise.race([over, new Promise(resolve => { setTimeout(resolve, 3 * HEAD_MS, 'stays') })]), 'stays')
    socket.write(frame(HEADERS, END_STREAM | END_HEADERS, 7, block('/after')))
    await heard(HEADERS, END_HEADERS, 7)
  })
})
