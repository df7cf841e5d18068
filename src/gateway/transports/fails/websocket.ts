import type { Server } from 'node:net'
import type { Duplex } from 'node:stream'
import tls, { createSecureContext } from 'node:tls'
import { BACKLOG } from '../../../base/backlog.ts'
import type { TlsMaterial } from '../../../channel/tls-material.ts'
import { CIPHERS } from '../../../protocol/ciphers.ts'
import type { SessionRequest } from '../../../protocol/transport-session.ts'
import { Admission } from '../admission.ts'
import type { EngineSizes, ListenerEvents, ListenerOptions, TransportListener, ViewerTransport } from '../viewer-transport.ts'
import { Connections } from './connections.ts'
import { loadLibrary, type LibraryRequest, type LibraryServer, type LibraryVisit } from './library.ts'
import { toSessionRequest } from './request.ts'
import { FailsSession } from './session.ts'
import { createServer, SESSION_WINDOW_BYTES, startServer, STREAM_WINDOW_BYTES } from './start.ts'
import { containErrors, WebSocketGuard } from './websocket-guard.ts'

/** A client may put as much as the session window and a header of some 20 bytes into one message. */
const MAX_MESSAGE_BYTES = SESSION_WINDOW_BYTES + 64
/** Connections are cut when they have not closed by themselves by then; `close()` promises a second in all. */
const CLOSE_TIMEOUT_MS = 700
/** HTTP/2: concurrent requests of one connection, of which each session is one, and the size of one header list. */
const HTTP2_SETTINGS = { maxConcurrentStreams: 100, maxHeaderListSize: 16_384 }

interface AcceptedWebSocket { readonly request: SessionRequest, readonly peerKey: string, readonly release: () => void }

/** The TCP transport: WebTransport over WebSocket (browsers) and over HTTP/2 capsules (the library's Node client), pure JavaScript. */
export function failsWebSocketTransport (): ViewerTransport {
  return {
    name: 'fails-websocket',
    async listen (options, events) {
      // The library has no option for them.
      tls.DEFAULT_CIPHERS = CIPHERS
      const server = await createServer(await loadLibrary(), options, { reliability: 'reliableOnly', sessionFlowControlWindowSizeLimit: SESSION_WINDOW_BYTES })
      const listener = new WebSocketListener(server, options, events)
      await listener.start()
      return listener
    }
  }
}

class WebSocketListener implements TransportListener {
  readonly description: string
  readonly #server: LibraryServer
  readonly #options: ListenerOptions
  readonly #events: ListenerEvents
  readonly #admission: Admission
  readonly #connections: Connections
  readonly #sessions = new Set<FailsSession>()
  #accepted = 0
  #closing: Promise<void> | undefined

  constructor (server: LibraryServer, options: ListenerOptions, events: ListenerEvents) {
    this.#server = server
    this.#options = options
    this.#events = events
    this.#admission = new Admission(options, events)
    const tcp = server.transportInt.serverInt
    if (tcp === undefined) throw new Error('fails-components has no HTTP/2 server')
    this.#connections = new Connections(tcp, options, events)
    this.description = 'fails-components 1.6.8: WebTransport over WebSocket and HTTP/2 capsules on TCP, ' +
      `at most ${options.maxSessions} sessions with ${options.maxStreamsPerSession} streams, windows ${STREAM_WINDOW_BYTES}/${SESSION_WINDOW_BYTES} bytes`
  }

  get port (): number { return this.#server.port ?? 0 }

  /** @throws Error of the socket (EADDRINUSE, EACCES) or when the library does not become ready */
  async start (): Promise<void> {
    const { transportInt } = this.#server
    this.#server.onSessionRequest = request => { this.#request(request) }
    this.#server.onHttpWTSessionVisitor = visit => { this.#visit(visit) }
    transportInt.setJSRequestHandler(true)
    transportInt.serverInt?.updateSettings(HTTP2_SETTINGS)
    const { fd } = this.#options
    if (fd !== undefined) listenOnDescriptor(transportInt.serverInt, fd)
    await startServer(this.#server, this.#events)
  }

  setTls (tls: TlsMaterial): void {
    try {
      createSecureContext({ cert: tls.cert, key: tls.key })
      this.#server.transportInt.updateCert?.(tls.cert, tls.key, true)
    } catch (error) {
      this.#events.log('error', 'certificate not taken over, the old one stays in use', { error: String(error) })
    }
  }

  sizes (): EngineSizes {
    let streams = 0
    let lingering = 0
    for (const session of this.#sessions) {
      streams += session.openStreams
      lingering += session.lingering
    }
    return { sessions: this.#sessions.size, streams, lingering, handshakes: this.#admission.pending, connections: this.#connections.size }
  }

  close (): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close (): Promise<void> {
    this.#admission.shut()
    for (const session of this.#sessions) session.close(0, 'relay is stopping')
    this.#server.transportInt.stopServer()
    await this.#connections.close(CLOSE_TIMEOUT_MS)
  }

  #request (library: LibraryRequest): void {
    const request = toSessionRequest(library)
    const stream = library.session as Duplex
    // Nobody listens for errors of an upgraded socket yet, and an error without a listener ends the process.
    stream.on('error', () => {})
    if (request === undefined || stream.destroyed) { stream.destroy(); return }
    // Accepting the connection paid for its first session; over HTTP/2 there may be more.
    const charged = this.#connections.claimed(library.peerAddress)
    this.#answer(library, request, stream, charged).catch((error: unknown) => {
      this.#events.log('warn', 'session request failed', { error: String(error) })
      stream.destroy()
    })
  }

  async #answer (library: LibraryRequest, request: SessionRequest, stream: Duplex, charged: boolean): Promise<void> {
    const verdict = await this.#admission.ask(request, charged)
    if (!verdict.accept) {
      refuse(this.#server, library, stream, verdict.status)
      return
    }
    if (stream.destroyed) {
      this.#admission.release()
      this.#events.handshakeFailed('protocol', 'peer left during the handshake')
      return
    }
    const violated = (error: Error): void => { this.#events.log('debug', 'connection broke the protocol', { error: error.message, peer: request.peer?.ip }) }
    let carrier = stream
    if (library.protocol === 'capsule') containErrors(stream, violated)
    else carrier = new WebSocketGuard(stream, library.head ?? Buffer.alloc(0), MAX_MESSAGE_BYTES, violated)
    let held = true
    const release = (): void => {
      if (held) this.#admission.release()
      held = false
    }
    // Of a peer that leaves early the library never makes a session, so the connection gives the place back as well.
    carrier.once('close', release)
    const accepted: AcceptedWebSocket = { request, peerKey: library.peerAddress, release }
    this.#server.transportInt.finishSessionRequest({ ...library, session: carrier, head: undefined, path: this.#options.path, status: 200, userData: accepted })
  }

  #visit (visit: LibraryVisit): void {
    const { request, peerKey, release } = visit.userData as AcceptedWebSocket
    const session = new FailsSession(visit.session, {
      id: `ws-${++this.#accepted}`,
      transport: 'websocket',
      request,
      maxStreams: this.#options.maxStreamsPerSession,
      ready: ready => { this.#events.session(ready) }
    })
    this.#sessions.add(session)
    this.#connections.add(peerKey, session)
    const over = (): void => {
      release()
      this.#sessions.delete(session)
      this.#connections.remove(peerKey, session)
    }
    session.closed.then(over, over)
  }
}

/** The library drops a refused WebSocket without an answer; a client deserves the status. */
function refuse (server: LibraryServer, library: LibraryRequest, stream: Duplex, status: number): void {
  if (stream.destroyed) return
  if (library.protocol === 'websocketoverhttp1') {
    stream.end(`HTTP/1.1 ${status} Refused\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`)
    return
  }
  server.transportInt.finishSessionRequest({ ...library, path: '', status })
}

/** The library knows addresses only, and has a server of Node listen on them. */
function listenOnDescriptor (server: Server | undefined, fd: number): void {
  if (server === undefined) return
  const listen = server.listen.bind(server)
  Object.assign(server, { listen: () => listen({ fd }, BACKLOG) })
}
