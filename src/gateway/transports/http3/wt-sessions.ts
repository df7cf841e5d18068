/** The request streams of a connection and the WebTransport sessions they carry (draft-ietf-webtrans-http3 §3-§6). Sans-IO. */
import { encodeCloseCapsule, encodeDrainCapsule } from './capsules.ts'
import type { CapsuleEvent } from './capsules.ts'
import { ConnectStream } from './connect-stream.ts'
import type { Role } from './h3-control.ts'
import { H3, H3Error } from './h3-errors.ts'
import type { ConnectRequest, EventQueue } from './h3-events.ts'
import { FRAME, encodeFrame } from './h3-frames.ts'
import { connectFields, plainResponseFields, readRequest, readStatus, responseFields } from './h3-messages.ts'
import { encodeFieldSection } from './qpack.ts'
import type { Field } from './qpack.ts'

export interface SessionLimits {
  /** Sessions at once; a further CONNECT is reset with REQUEST_REJECTED. */
  readonly maxSessions: number
  /** Streams kept until their session is open; more are reset (draft §4.5). */
  readonly maxParkedStreams: number
}

/** A peer that keeps asking for anything but a session is no viewer. */
const MAX_PLAIN_REQUESTS = 100

interface Exchange {
  readonly stream: ConnectStream
  readonly since: number
  /**
   * `headers`: they are incomplete; `held`: they came before the peer's SETTINGS; `asked`: the other side, or our application, decides;
   * `ended`: the session is over and only the peer's FIN is missing.
   */
  state: 'headers' | 'held' | 'asked' | 'open' | 'ended'
  request: ConnectRequest | undefined
}

interface Parked {
  readonly sessionId: number
  readonly rest: Uint8Array
  readonly fin: boolean
  readonly since: number
}

export class WtSessions {
  private readonly role: Role
  private readonly limits: SessionLimits
  private readonly out: EventQueue
  private readonly exchanges = new Map<number, Exchange>()
  private readonly parked = new Map<number, Parked>()
  private lastRequest = -1
  private plainRequests = 0
  private settled = false
  private refusing = false

  constructor (role: Role, limits: SessionLimits, out: EventQueue) {
    this.role = role
    this.limits = limits
    this.out = out
  }

  has (streamId: number): boolean { return this.exchanges.has(streamId) }

  isParked (streamId: number): boolean { return this.parked.has(streamId) }

  isOpen (sessionId: number): boolean { return this.exchanges.get(sessionId)?.state === 'open' }

  sizes (): { exchanges: number, parked: number } {
    return { exchanges: this.exchanges.size, parked: this.parked.size }
  }

  /** No sessions from now on; returns the first request id that will not be served (RFC 9114 §5.2). */
  refuse (): number {
    this.refusing = true
    return this.lastRequest < 0 ? 0 : this.lastRequest + 4
  }

  /** Server: a request stream begins. */
  begin (streamId: number, now: number): void {
    this.lastRequest = Math.max(this.lastRequest, streamId)
    this.exchanges.set(streamId, { stream: new ConnectStream('server'), since: now, state: 'headers', request: undefined })
  }

  /** Client: sends the CONNECT. */
  connect (streamId: number, authority: string, path: string, headers: Readonly<Record<string, string>>, now: number): void {
    this.exchanges.set(streamId, { stream: new ConnectStream('client'), since: now, state: 'asked', request: undefined })
    this.headers(streamId, connectFields(authority, path, headers), false)
  }

  /** The peer's SETTINGS came; before them no request may be acted on (draft §3.1). */
  settle (): void {
    this.settled = true
    for (const [streamId, exchange] of this.exchanges) {
      if (exchange.state === 'held') this.ask(streamId, exchange)
    }
  }

  /** Bytes of a request stream. @throws H3Error */
  feed (streamId: number, bytes: Uint8Array, fin: boolean): void {
    const exchange = this.exchanges.get(streamId)
    if (exchange === undefined) return
    exchange.stream.push(bytes, (event) => event.kind === 'fields' ? this.fields(streamId, exchange, event.fields, fin) : this.capsule(streamId, exchange, event))
    if (!fin || this.exchanges.get(streamId) !== exchange) return
    exchange.stream.end()
    // FIN without a capsule is a close with code 0 and no reason (draft §6).
    this.end(streamId, exchange, 0, '', true)
    this.exchanges.delete(streamId)
  }

  /** Server: answers a `request`; 200 opens the session and releases its streams. False when the session is gone. */
  respond (sessionId: number, status: number): boolean {
    const exchange = this.exchanges.get(sessionId)
    if (exchange?.state !== 'asked' || this.role !== 'server') return false
    if (status === 200) {
      this.headers(sessionId, responseFields(status), false)
      this.open(sessionId, exchange)
      return true
    }
    this.headers(sessionId, responseFields(status), true)
    this.out.push({ kind: 'stop', streamId: sessionId, code: H3.NO_ERROR })
    this.exchanges.delete(sessionId)
    this.rejectParked(sessionId)
    return true
  }

  /** Closes with a capsule and FIN (draft §6), or cancels a session that is not open yet. */
  close (sessionId: number, code: number, reason: string): void {
    const exchange = this.exchanges.get(sessionId)
    if (exchange === undefined || exchange.state === 'ended') return
    if (exchange.state !== 'open') {
      this.break(sessionId, H3.REQUEST_CANCELLED, 'closed before it was open')
      return
    }
    this.out.write(sessionId, encodeFrame(FRAME.DATA, encodeCloseCapsule(code, reason)), true)
    exchange.state = 'ended'
    this.out.push({ kind: 'session-closed', sessionId, code, reason, clean: true })
  }

  drain (sessionId: number): void {
    if (this.isOpen(sessionId)) this.out.write(sessionId, encodeFrame(FRAME.DATA, encodeDrainCapsule()))
  }

  /** A stream of `sessionId`: goes to the session, waits for it, or is refused. @throws H3Error ID_ERROR for an impossible session */
  associate (streamId: number, sessionId: number, rest: Uint8Array, fin: boolean, now: number): void {
    if (sessionId % 4 !== 0) throw new H3Error(H3.ID_ERROR, `no session can have id ${sessionId}`) // draft §4.2
    const state = this.exchanges.get(sessionId)?.state
    if (state === 'open') {
      this.out.push({ kind: 'stream', sessionId, streamId, rest, fin })
    } else if (state === 'ended' || (state === undefined && (this.role === 'client' || sessionId <= this.lastRequest))) {
      this.reject(streamId, H3.WT_SESSION_GONE)
    } else if (this.parked.size >= this.limits.maxParkedStreams) {
      this.reject(streamId, H3.WT_BUFFERED_STREAM_REJECTED)
    } else {
      this.parked.set(streamId, { sessionId, rest, fin, since: now })
    }
  }

  /** The peer reset or stopped a request stream, or it broke a rule of its own: both halves end, the session with them. */
  break (streamId: number, code: number, reason: string): void {
    const exchange = this.exchanges.get(streamId)
    this.exchanges.delete(streamId)
    if (!this.parked.delete(streamId) && exchange === undefined) return
    this.out.abort(streamId, code)
    if (exchange === undefined || exchange.state === 'ended') return
    this.rejectParked(streamId)
    if (exchange.state === 'open' || this.role === 'client') {
      this.out.push({ kind: 'session-closed', sessionId: streamId, code: 0, reason, clean: false })
    }
  }

  /** Ends what began before `since` and still waits. */
  expire (since: number): void {
    for (const [streamId, exchange] of this.exchanges) {
      if ((exchange.state === 'headers' || exchange.state === 'held') && exchange.since < since) this.break(streamId, H3.REQUEST_INCOMPLETE, 'request timed out')
    }
    for (const [streamId, parked] of this.parked) {
      if (parked.since >= since) continue
      this.parked.delete(streamId)
      this.reject(streamId, H3.WT_BUFFERED_STREAM_REJECTED)
    }
  }

  private fields (streamId: number, exchange: Exchange, fields: readonly Field[], fin: boolean): boolean {
    if (this.role === 'client') return this.answer(streamId, exchange, readStatus(fields))
    const request = readRequest(fields)
    if (request.kind === 'plain') {
      this.exchanges.delete(streamId)
      if (++this.plainRequests > MAX_PLAIN_REQUESTS) throw new H3Error(H3.EXCESSIVE_LOAD, 'too many plain requests')
      this.headers(streamId, plainResponseFields(request.status), true)
      // RFC 9114 §4.1: the rest of a request that is already answered is not needed.
      if (!fin) this.out.push({ kind: 'stop', streamId, code: H3.NO_ERROR })
      this.out.push({ kind: 'plain-request', method: request.method, status: request.status })
      return false
    }
    let live = 0
    for (const other of this.exchanges.values()) if (other.state !== 'headers' && other.state !== 'ended') live++
    if (this.refusing || live >= this.limits.maxSessions) {
      this.exchanges.delete(streamId)
      this.out.abort(streamId, H3.REQUEST_REJECTED) // draft §5.2
      return false
    }
    exchange.request = { path: request.path, authority: request.authority, headers: request.headers }
    exchange.state = 'held'
    if (this.settled) this.ask(streamId, exchange)
    return true
  }

  private ask (sessionId: number, exchange: Exchange): void {
    if (exchange.request === undefined) return
    exchange.state = 'asked'
    this.out.push({ kind: 'request', sessionId, request: exchange.request })
    exchange.request = undefined
  }

  /** Client: the server's response to our CONNECT. */
  private answer (sessionId: number, exchange: Exchange, status: number): boolean {
    if (exchange.state !== 'asked') throw new H3Error(H3.FRAME_UNEXPECTED, 'HEADERS after the response')
    if (status < 200) return true
    if (status < 300) {
      this.open(sessionId, exchange)
      return true
    }
    this.exchanges.delete(sessionId)
    this.out.abort(sessionId, H3.REQUEST_CANCELLED)
    this.out.push({ kind: 'session-refused', sessionId, status })
    this.rejectParked(sessionId)
    return false
  }

  private open (sessionId: number, exchange: Exchange): void {
    exchange.state = 'open'
    this.out.push({ kind: 'session-open', sessionId })
    for (const [streamId, parked] of this.parked) {
      if (parked.sessionId !== sessionId) continue
      this.parked.delete(streamId)
      this.out.push({ kind: 'stream', sessionId, streamId, rest: parked.rest, fin: parked.fin })
    }
  }

  private capsule (sessionId: number, exchange: Exchange, event: CapsuleEvent): boolean {
    if (event.kind === 'close') this.end(sessionId, exchange, event.code, event.reason, true)
    else if (exchange.state === 'open') this.out.push({ kind: 'session-draining', sessionId })
    return true
  }

  /** The peer ended the session by the protocol: our half ends too. */
  private end (sessionId: number, exchange: Exchange, code: number, reason: string, clean: boolean): void {
    if (exchange.state === 'ended') return
    const before = exchange.state
    exchange.state = 'ended'
    this.rejectParked(sessionId)
    if (before === 'open') this.out.write(sessionId, new Uint8Array(0), true)
    else this.out.push({ kind: 'reset', streamId: sessionId, code: H3.REQUEST_CANCELLED })
    if (before === 'open' || this.role === 'client') this.out.push({ kind: 'session-closed', sessionId, code, reason, clean })
  }

  private rejectParked (sessionId: number): void {
    for (const [streamId, parked] of this.parked) {
      if (parked.sessionId !== sessionId) continue
      this.parked.delete(streamId)
      this.reject(streamId, H3.WT_SESSION_GONE)
    }
  }

  /** A unidirectional stream of the peer has no half of ours to reset. */
  private reject (streamId: number, code: number): void {
    if (streamId % 4 < 2) this.out.push({ kind: 'reset', streamId, code })
    this.out.push({ kind: 'stop', streamId, code })
  }

  private headers (streamId: number, fields: readonly Field[], fin: boolean): void {
    this.out.write(streamId, encodeFrame(FRAME.HEADERS, encodeFieldSection(fields)), fin)
  }
}
