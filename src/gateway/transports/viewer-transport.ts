import type { HandshakeGate } from '../../admission/handshake-limiter.ts'
import type { HandshakeFailure } from '../../channel/gateway-counters.ts'
import type { TlsMaterial } from '../../channel/tls-material.ts'
import type { SessionRequest, TransportSession } from '../../protocol/transport-session.ts'

/**
 * What the gateway asks of an engine that carries WebTransport sessions. Every engine (quinn, fails-components,
 * the in-process pair of the tests) passes the suite in `test/contracts/viewer-transport.ts`.
 */

/** Accept a session or refuse it with an HTTP status; must not throw and must not wait longer than the handshake timeout. */
export type SessionDecision =
  | { readonly accept: true }
  /** `failure` is what the refusal counts as, `refused` by default. */
  | { readonly accept: false, readonly status: number, readonly failure?: HandshakeFailure }

/** What an engine reports to whoever listens; none of them may throw. */
export interface ListenerEvents {
  /** Asked before a handshake costs anything, where the transport allows that, and else before a session is decided about; without it none is too many. */
  readonly admit?: HandshakeGate
  decide (request: SessionRequest): SessionDecision | Promise<SessionDecision>
  session (session: TransportSession): void
  handshakeFailed (reason: HandshakeFailure, detail: string): void
  log (level: 'debug' | 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>): void
}

export interface ListenerOptions {
  readonly host: string
  /** 0 for any free port. */
  readonly port: number
  /** Descriptor of a socket that is to be listened on instead, of engines on TCP. */
  readonly fd?: number | undefined
  readonly tls: TlsMaterial
  /** The path a session must ask for, without query: others are refused with 404. */
  readonly path: string
  readonly maxSessions: number
  /** Bidirectional streams a peer may have open at the same time in a session. */
  readonly maxStreamsPerSession: number
  readonly handshakeTimeoutMs: number
  readonly idleTimeoutMs: number
}

/** Sizes of every map and queue inside an engine, for metrics and for the tests that assert their bounds. */
export type EngineSizes = Readonly<Record<string, number>>

export interface TransportListener {
  /** Engine and its limits in words, for the log line at start. */
  readonly description: string
  readonly port: number
  /** New handshakes use this certificate; sessions that exist stay. Absent where a certificate can be given to a new listener only. */
  setTls? (tls: TlsMaterial): void
  /** @throws Error when a listener of this engine could not serve with it */
  checkTls? (tls: TlsMaterial): void
  sizes (): EngineSizes
  /** Refuses new sessions, closes those that exist, frees the port; resolves when done, within a second; idempotent. */
  close (): Promise<void>
}

/** One engine: `listen` for servers. Client sides are separate, since a browser has its own. */
export interface ViewerTransport {
  readonly name: string
  listen (options: ListenerOptions, events: ListenerEvents): Promise<TransportListener>
}
