/** Origins that misbehave byte by byte, on bare sockets. */
import { once } from 'node:events'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { TestContext } from 'node:test'

export interface RawRequest {
  readonly path: string
  /** The head as it came. */
  readonly head: string
  readonly socket: Socket
  /** Number of the connection, and of the request on it, from 0. */
  readonly connection: number
  readonly request: number
}

export interface RawOrigin {
  readonly url: string
  readonly region: string
  /** Heads of all requests but health checks. */
  readonly heads: string[]
  /** Connections that have asked for an object. */
  readonly connections: Set<number>
}

export const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'

/** Listens on a port of its own and closes with the test, its sockets too. */
export async function listenRaw (t: Pick<TestContext, 'after'>, server: Server): Promise<string> {
  const sockets = new Set<Socket>()
  server.on('connection', socket => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => { sockets.delete(socket) })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Answers each request for an object by `answer`, and health checks well. */
export async function rawOrigin (t: Pick<TestContext, 'after'>, answer: (request: RawRequest) => void, region = 'NA-WEST'): Promise<RawOrigin> {
  const heads: string[] = []
  const connections = new Set<number>()
  let opened = 0
  const server = createServer(socket => {
    const connection = opened++
    let received = ''
    let request = 0
    socket.on('data', bytes => {
      received += bytes.toString('latin1')
      for (let end = received.indexOf('\r\n\r\n'); end >= 0; end = received.indexOf('\r\n\r\n')) {
        const head = received.slice(0, end)
        received = received.slice(end + 4)
        const path = head.split(' ')[1] ?? ''
        if (path === '/health') {
          socket.write(OK)
          continue
        }
        heads.push(head)
        connections.add(connection)
        answer({ path, head, socket, connection, request: request++ })
      }
    })
  })
  return { url: `http://${await listenRaw(t, server)}`, region, heads, connections }
}

/** A response with this body; its length is told unless `fields` tell otherwise. */
export function response (body: Uint8Array | string, fields: readonly string[] = [], status = '200 OK'): Buffer {
  const bytes = Buffer.from(body)
  const framed = fields.some(field => /^(content-length|transfer-encoding|connection: close)/i.test(field)) ? fields : [...fields, `content-length: ${bytes.length}`]
  return Buffer.concat([Buffer.from(`HTTP/1.1 ${status}\r\n${framed.map(field => `${field}\r\n`).join('')}\r\n`), bytes])
}
