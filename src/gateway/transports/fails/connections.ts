import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Server, TLSSocket } from 'node:tls'
import { gateConnections } from '../../../admission/connection-gate.ts'
import { openGate } from '../../../admission/handshake-limiter.ts'
import type { HandshakeFailure } from '../../../channel/gateway-counters.ts'
import type { ListenerEvents, ListenerOptions } from '../viewer-transport.ts'
import type { FailsSession } from './session.ts'

/** Connections that may be on their way to a session, beyond those that have one. */
const HALF_OPEN_CONNECTIONS = 256
/** Connections are looked at this many times per timeout, so that one lives at most a quarter too long. */
const LOOKS_PER_TIMEOUT = 4
const MIN_LOOK_MS = 25

interface SocketConnection {
  readonly socket: Socket
  readonly sessions: Set<FailsSession>
  secured: boolean
  /** A session was asked for, whatever the answer. */
  claimed: boolean
  failure: HandshakeFailure | undefined
  /** Monotonic milliseconds: since when there is no session. */
  idleSince: number
  /** Monotonic milliseconds: when bytes last arrived. */
  heardAt: number
  bytesRead: number
}

/**
 * Caps and timers for the TCP connections of the library, which has none: a connection without a session ends after the
 * handshake timeout, and one whose peer is silent, pings included, after the idle timeout.
 */
export class Connections {
  readonly #server: Server
  readonly #options: Pick<ListenerOptions, 'maxSessions' | 'handshakeTimeoutMs' | 'idleTimeoutMs'>
  readonly #events: Pick<ListenerEvents, 'admit' | 'handshakeFailed'>
  readonly #connections = new Map<string, SocketConnection>()
  readonly #look: NodeJS.Timeout

  constructor (server: Server, options: Pick<ListenerOptions, 'maxSessions' | 'handshakeTimeoutMs' | 'idleTimeoutMs'>, events: Pick<ListenerEvents, 'admit' | 'handshakeFailed'>) {
    this.#server = server
    this.#options = options
    this.#events = events
    server.maxConnections = options.maxSessions + HALF_OPEN_CONNECTIONS
    server.on('drop', () => { events.handshakeFailed('limit', 'too many connections') })
    gateConnections(server, socket => this.#admit(socket))
    server.on('connection', (socket: Socket) => { this.#open(socket) })
    server.on('secureConnection', (socket: TLSSocket) => {
      // Between two owners of the socket nobody listens for errors, and one without a listener ends the process.
      socket.on('error', () => {})
      this.#of(socket, connection => { connection.secured = true })
    })
    server.on('tlsClientError', (_error: Error, socket: TLSSocket) => { this.#of(socket, connection => { connection.failure = 'tls' }) })
    answerPlainRequests(server)
    this.#look = setInterval(() => { this.#check(performance.now()) }, Math.max(MIN_LOOK_MS, Math.min(options.handshakeTimeoutMs, options.idleTimeoutMs) / LOOKS_PER_TIMEOUT))
    this.#look.unref()
  }

  get size (): number { return this.#connections.size }

  /** A session was asked for on the connection of this peer (`ip:port` as the library writes it). Returns whether it was the first. */
  claimed (peerKey: string): boolean {
    const connection = this.#connections.get(peerKey)
    if (connection === undefined || connection.claimed) return false
    connection.claimed = true
    return true
  }

  add (peerKey: string, session: FailsSession): void { this.#connections.get(peerKey)?.sessions.add(session) }

  remove (peerKey: string, session: FailsSession): void {
    const connection = this.#connections.get(peerKey)
    connection?.sessions.delete(session)
    if (connection?.sessions.size === 0) connection.idleSince = performance.now()
  }

  /** Waits for the connections to end by themselves, then cuts the rest; resolves when the port is free. */
  async close (timeoutMs: number): Promise<void> {
    clearInterval(this.#look)
    for (const connection of this.#connections.values()) if (connection.sessions.size === 0 && !connection.claimed) connection.socket.destroy()
    const cut = setTimeout(() => { for (const connection of this.#connections.values()) connection.socket.destroy() }, timeoutMs)
    await new Promise<void>(resolve => {
      const check = (): void => { if (this.#connections.size === 0 && !this.#server.listening) resolve() }
      this.#server.once('close', () => { resolve() })
      setImmediate(check)
    })
    clearTimeout(cut)
  }

  /** TCP has proven the address, and TLS has cost nothing yet. */
  #admit (socket: Socket): boolean {
    const verdict = (this.#events.admit ?? openGate)(socket.remoteAddress ?? '', performance.now())
    if (verdict !== 'admit') this.#events.handshakeFailed(verdict, 'connection reset on accept')
    return verdict === 'admit'
  }

  #open (socket: Socket): void {
    // Answers leave in several writes, and Nagle's algorithm holds the last one back for a round trip.
    socket.setNoDelay(true)
    const now = performance.now()
    const key = keyOf(socket)
    const connection: SocketConnection = { socket, sessions: new Set(), secured: false, claimed: false, failure: undefined, idleSince: now, heardAt: now, bytesRead: 0 }
    this.#connections.set(key, connection)
    socket.once('close', () => {
      this.#connections.delete(key)
      if (connection.claimed) return
      const reason = connection.failure ?? (connection.secured ? 'protocol' : 'tls')
      this.#events.handshakeFailed(reason, 'connection ended without asking for a session')
    })
  }

  #of (socket: Socket, change: (connection: SocketConnection) => void): void {
    const connection = this.#connections.get(keyOf(socket))
    if (connection !== undefined) change(connection)
  }

  #check (now: number): void {
    for (const connection of this.#connections.values()) {
      const { bytesRead } = connection.socket
      if (bytesRead !== connection.bytesRead) {
        connection.bytesRead = bytesRead
        connection.heardAt = now
      }
      if (connection.sessions.size === 0) {
        if (now - connection.idleSince < this.#options.handshakeTimeoutMs) continue
        connection.failure ??= 'timeout'
        connection.socket.destroy()
      } else if (now - connection.heardAt >= this.#options.idleTimeoutMs) {
        for (const session of connection.sessions) session.lose('idle timeout')
        connection.socket.destroy()
      } else if (now - connection.heardAt >= this.#options.idleTimeoutMs / 2) {
        for (const session of connection.sessions) session.ping()
      }
    }
  }
}

/** The key the library's `peerAddress` makes for the same connection. */
function keyOf (socket: Socket): string {
  return `${socket.remoteAddress}:${socket.remotePort}`
}

/** A plain HTTPS request would hang until the handshake timeout; HTTP/2 ones are answered by the library. */
function answerPlainRequests (server: Server): void {
  const before = server.listeners('stream')
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    if (request.httpVersionMajor >= 2) return
    response.writeHead(426, { connection: 'close', upgrade: 'websocket', 'content-type': 'text/plain' })
    response.end('This port speaks WebTransport over WebSocket.\n')
  })
  // A request listener makes Node answer HTTP/2 streams as well, which the library does already.
  for (const listener of server.listeners('stream')) {
    if (!before.includes(listener)) server.removeListener('stream', listener as (...args: unknown[]) => void)
  }
}
