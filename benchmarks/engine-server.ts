/** The engine without a relay, in a process of its own: answers `GET /<bytes>/<bytes of a write>`, on every stream of every session. */
import { createHash, X509Certificate } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createSelfSigned } from '../src/plugins/tls/self-signed.ts'
import type { NapiBiStream, NapiRequest } from '../src/quinn/binding.ts'
import { quinnBinding } from '../tools/harness/quinn.ts'

export interface EngineReady {
  readonly url: string
  /** SHA-256, base64. */
  readonly certificateHash: string
}

const READ_BYTES = 65_536
const body = Buffer.alloc(8_000_000, 'shard')

async function answer (native: NapiBiStream): Promise<void> {
  const [receive, send] = [native.takeRecv(), native.takeSend()]
  let head = ''
  for (let chunk = await receive.read(READ_BYTES); chunk !== null; chunk = await receive.read(READ_BYTES)) head += chunk.toString('latin1')
  const [, bytes = 0, piece = 1] = /^GET \/(\d+)\/(\d+) /.exec(head)?.map(Number) ?? []
  await send.write(Buffer.from('HTTP/1.1 200 OK\r\n\r\n'))
  for (let at = 0; at < bytes; at += piece) await send.write(body.subarray(at, Math.min(bytes, at + piece)))
  await send.finish()
}

async function serve (request: NapiRequest): Promise<void> {
  const session = await request.ok()
  for (;;) answer(await session.acceptBi()).catch(() => {})
}

const socket = createSocket('udp4').bind(0, '127.0.0.1')
await once(socket, 'listening')
const { port } = socket.address()
socket.close()
await once(socket, 'close')
const { cert, key } = createSelfSigned([], Date.now())
const server = quinnBinding().NapiServer.bind(`127.0.0.1:${port}`, Buffer.from(cert), Buffer.from(key))
process.on('disconnect', () => { process.exit(0) })
process.send?.({ url: `https://127.0.0.1:${port}/`, certificateHash: createHash('sha256').update(new X509Certificate(cert).raw).digest('base64') } satisfies EngineReady)
// Sessions that end reject what they are asked for.
for (let request = await server.accept(); request !== null; request = await server.accept()) serve(request).catch(() => {})
