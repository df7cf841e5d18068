import { constants, createServer as createHttp2Server, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https'
import { METHODS, type RequestListener, type ServerOptions } from 'node:http'
import { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { RelayError, systemCode } from '../../base/errors.ts'
import { TLS_POLICY } from '../../protocol/ciphers.ts'
import { endUnfinishedHeads } from './http2-heads.ts'
import { answerOnSocket } from './problem.ts'

export interface Pem {
  readonly cert: string
  readonly key: string
}

export interface SecureServerOptions {
  readonly tls: Pem
  /** Of the HTTP/1.1 side. */
  readonly http: ServerOptions
  /** Silence after which a connection is closed, ms. */
  readonly idleTimeoutMs: number
  /** Time for a TLS handshake, ms. */
  readonly handshakeTimeoutMs: number
  /** Time for a request head over HTTP/2, ms. */
  readonly headTimeoutMs: number
}

/** Requests of one connection at the same time: what browsers and CDNs settle for; a viewer that wants more opens another connection. */
const MAX_STREAMS = 100
/** Unsent bytes of one connection, MB, before it may open no more streams: five times what that many streams hold in chunks of 64 KiB. */
const MAX_SESSION_MB = 64
/** Viewers send heads and no bodies. */
const MAX_HEADER_LIST = 16 * 1024

/** Ends a stream whose peer takes nothing of what was written to it for so long, whatever others of its connection do. */
function endStalled (stream: ServerHttp2Stream, limitMs: number): void {
  let timer: NodeJS.Timeout | undefined
  const watched = (done: (error?: Error | null) => void) => {
    timer = setTimeout(() => { stream.close(constants.NGHTTP2_CANCEL) }, limitMs).unref()
    return (error?: Error | null): void => {
      clearTimeout(timer)
      done(error)
    }
  }
  // Node calls these for every write, and waits for what it gives them before the next.
  const write = stream._write.bind(stream)
  const writev = stream._writev?.bind(stream)
  stream._write = (chunk, encoding, done) => { write(chunk, encoding, watched(done)) }
  if (writev !== undefined) stream._writev = (chunks, done) => { writev(chunks, watched(done)) }
  stream.once('close', () => { clearTimeout(timer) })
}

export interface SecureServer extends HttpsServer {
  /** Lets HTTP/2 connections end with the responses they have under way; Fastify calls it when it closes. */
  closeHttp2Sessions (): void
}

const KNOWN_METHODS: ReadonlySet<string> = new Set(METHODS)
/** Methods that are none of HTTP, by their requests: Node's HTTP/1.1 parser refuses them, and Fastify has no place for them. */
const unknownMethods = new WeakMap<object, string>()

/** The method of a request as it was sent, when it is none of HTTP; the request then says GET. */
export function unknownMethodOf (request: object): string | undefined {
  return unknownMethods.get(request)
}

/** The connection below a handshake that failed, which Node tells nobody; undefined when it cannot be written to. */
function plainSocketOf (socket: TLSSocket): Socket | undefined {
  const { _parent: parent } = socket as TLSSocket & { readonly _parent?: unknown }
  return parent instanceof Socket && parent.writable ? parent : undefined
}

/**
 * HTTP/2 and HTTP/1.1 over TLS on one port, chosen by ALPN. The HTTP/1.1 side is Node's own HTTPS server with all its timeouts;
 * Node's combined server lacks most of them, and a way to close connections.
 */
export function createSecureServer (options: SecureServerOptions, handler: RequestListener): SecureServer {
  const { tls, http, idleTimeoutMs, handshakeTimeoutMs, headTimeoutMs } = options
  const server = createHttpsServer({ ...http, ...tls, allowHalfOpen: true, handshakeTimeout: handshakeTimeoutMs, ALPNProtocols: ['h2', 'http/1.1', 'http/1.0'], ...TLS_POLICY }, handler)
  const sessions = new Set<ServerHttp2Session>()
  const http2 = createHttp2Server({ maxSessionMemory: MAX_SESSION_MB, settings: { maxConcurrentStreams: MAX_STREAMS, maxHeaderListSize: MAX_HEADER_LIST } })
  // Node takes any progress of a connection for progress of all its streams.
  http2.on('stream', stream => { endStalled(stream, idleTimeoutMs) })
  // Requests of HTTP/2 have Node's compatible interface; only the type does not say so.
  http2.on('request', (request, response) => {
    // Whoever destroys a response wants it to look broken; Node would tell the peer NO_ERROR.
    response.destroy = error => {
      response.stream.destroy(error ?? new Error('the response broke off'))
      return response
    }
    if (!KNOWN_METHODS.has(request.method)) {
      unknownMethods.set(request, request.method)
      Object.assign(request, { method: 'GET' })
    }
    server.emit('request', request, response)
  })
  http2.on('session', session => {
    sessions.add(session)
    session.once('close', () => { sessions.delete(session) })
    // A connection that carries nothing in either direction for so long is dead, or its viewer reads nothing.
    endUnfinishedHeads(session, headTimeoutMs)
    session.setTimeout(idleTimeoutMs, () => { session.destroy() })
    if (!server.listening) session.close()
  })
  const serveHttp1 = server.listeners('secureConnection')
  server.removeAllListeners('secureConnection')
  server.on('secureConnection', (socket: TLSSocket) => {
    if (socket.alpnProtocol === 'h2') http2.emit('connection', socket)
    else for (const serve of serveHttp1) serve.call(server, socket)
  })
  // Nobody can be answered over TLS that was never agreed on, and only who never meant it without.
  server.removeAllListeners('tlsClientError')
  server.on('tlsClientError', (error, socket) => {
    const plain = systemCode(error) === 'ERR_SSL_HTTP_REQUEST' ? plainSocketOf(socket) : undefined
    if (plain !== undefined) answerOnSocket(plain, new RelayError('RELAY_ERR_BAD_REQUEST', 'this port speaks HTTPS: begin the URL with https://'))
    socket.destroy()
  })
  const closeHttp2Sessions = (): void => {
    for (const session of sessions) if (!session.closed) session.close()
  }
  const closeIdleConnections = server.closeIdleConnections.bind(server)
  const closeAllConnections = server.closeAllConnections.bind(server)
  return Object.assign(server, {
    closeHttp2Sessions,
    closeIdleConnections: () => {
      closeIdleConnections()
      // A session that is told to close ends by itself once it is idle.
      if (!server.listening) closeHttp2Sessions()
    },
    closeAllConnections: () => {
      closeAllConnections()
      for (const session of sessions) session.destroy()
    }
  })
}
