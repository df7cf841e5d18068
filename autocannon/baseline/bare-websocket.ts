/** The least a WebTransport server over WebSocket of fails-components can do: one buffer to every stream. Clients find it as they find a relay. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { failsWebSocketTransport } from '../../src/gateway/transports/fails/websocket.ts'
import { certificateHash, createSelfSigned } from '../../src/plugins/tls/self-signed.ts'
import type { BidiStream } from '../../src/protocol/transport-session.ts'

const WRITE_BYTES = 65_536
const body = Buffer.alloc(Number(process.argv[2] ?? 1_000_000), 'icn-relay')
const head = Buffer.from(`HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: ${body.length}\r\n\r\n`)

async function answer (stream: BidiStream): Promise<void> {
  // A request says nothing that matters here, and its end comes when the client has read the answer.
  await stream.read()
  await stream.write(head)
  for (let at = 0; at < body.length; at += WRITE_BYTES) await stream.write(body.subarray(at, at + WRITE_BYTES))
  await stream.end()
  while (await stream.read() !== null) { /* until then the stream stays open */ }
}

const tls = createSelfSigned([], Date.now())
const listener = await failsWebSocketTransport().listen({
  host: '127.0.0.1', port: 0, tls, path: '/v1/viewer', maxSessions: 1_000, maxStreamsPerSession: 10_000, handshakeTimeoutMs: 30_000, idleTimeoutMs: 600_000
}, {
  decide: () => ({ accept: true }),
  session: session => { session.onStream = stream => { answer(stream).catch(() => { stream.reset(1) }) } },
  handshakeFailed: (reason, detail) => { process.stderr.write(`handshake: ${reason} ${detail}\n`) },
  log: () => {}
})
const discovery = JSON.stringify({
  region: '',
  websocket: { url: `wss://127.0.0.1:${listener.port}/v1/viewer`, certificateHashes: [{ algorithm: 'sha-256', value: certificateHash(tls.cert) }] }
})
const server = createServer((_request, response) => {
  response.writeHead(200, { 'content-type': 'application/json' })
  response.end(discovery)
})
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${JSON.stringify({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` })}\n`)
})
