/**
 * One HTTP/3 connection with WebTransport (RFC 9114, RFC 9220, draft-ietf-webtrans-http3-02 and later), either role. Sans-IO: stream
 * bytes and time go in, `H3Event`s come out. It never throws for what a peer does: a broken rule becomes a reset or a fatal event.
 */
import { ControlReader } from './h3-control.ts'
import type { Role } from './h3-control.ts'
import { H3, H3Error } from './h3-errors.ts'
import { EventQueue } from './h3-events.ts'
import type { H3Event } from './h3-events.ts'
import { encodeGoaway } from './h3-frames.ts'
import { OUR_SETTINGS, encodeSettings, offersWebTransport } from './h3-settings.ts'
import { DecoderStreamCheck, checkEncoderStream } from './qpack.ts'
import { PreambleReader, STREAM_TYPE, webTransportPreamble } from './stream-preamble.ts'
import type { Preamble } from './stream-preamble.ts'
import { encodeVarints, readVarint } from './varint.ts'
import { WtSessions } from './wt-sessions.ts'
import type { SessionLimits } from './wt-sessions.ts'

export interface H3ConnectionOptions extends SessionLimits {
  /** Ours. */
  readonly role: Role
}

interface Unclassified {
  readonly reader: PreambleReader
  readonly since: number
}

/** Consumes the bytes of one of the peer's critical streams. @throws H3Error */
type CriticalReader = (bytes: Uint8Array) => void

export class H3Connection {
  private readonly role: Role
  private readonly out = new EventQueue()
  private readonly sessions: WtSessions
  private readonly unclassified = new Map<number, Unclassified>()
  private readonly critical = new Map<number, CriticalReader>()
  /** Types of critical streams the peer has opened: each only once (RFC 9114 §6.2.1, RFC 9204 §4.2). */
  private readonly seen = new Set<number>()
  private nextUni: number
  private nextBidi: number
  private controlId = -1
  private goingAway = false
  private dead = false

  constructor (options: H3ConnectionOptions) {
    this.role = options.role
    this.sessions = new WtSessions(options.role, options, this.out)
    // RFC 9000 §2.1: the low bits say who opened a stream and whether it goes both ways.
    this.nextUni = options.role === 'client' ? 2 : 3
    this.nextBidi = options.role === 'client' ? 0 : 1
  }

  /** Opens the control stream and both QPACK streams (RFC 9114 §6.2.1, RFC 9204 §4.2). */
  start (): void {
    const settings = encodeSettings(OUR_SETTINGS)
    const control = new Uint8Array(1 + settings.length)
    control[0] = STREAM_TYPE.CONTROL
    control.set(settings, 1)
    this.controlId = this.takeUni()
    this.out.write(this.controlId, control)
    this.out.write(this.takeUni(), encodeVarints(STREAM_TYPE.QPACK_ENCODER))
    this.out.write(this.takeUni(), encodeVarints(STREAM_TYPE.QPACK_DECODER))
  }

  /** Everything since the last call, in order. */
  takeEvents (): readonly H3Event[] { return this.out.take() }

  get hasEvents (): boolean { return this.out.length > 0 }

  /** Whether the stream waits for its session: its bytes must stay unread. */
  isParked (streamId: number): boolean { return this.sessions.isParked(streamId) }

  /** Whether the bytes of the stream are for this state machine, as far as is known. */
  owns (streamId: number): boolean {
    return this.unclassified.has(streamId) || this.critical.has(streamId) || this.sessions.has(streamId)
  }

  /** Entries of every map, all bounded by the peer's stream credit or by the options. */
  sizes (): { unclassified: number, exchanges: number, parked: number } {
    return { unclassified: this.unclassified.size, ...this.sessions.sizes() }
  }

  /** Bytes of a stream that does not belong to a session yet, or never will. `now` in milliseconds. */
  streamReceived (streamId: number, bytes: Uint8Array, fin: boolean, now: number): void {
    this.guard(streamId, () => {
      const critical = this.critical.get(streamId)
      if (critical !== undefined) {
        critical(bytes)
        if (fin) throw new H3Error(H3.CLOSED_CRITICAL_STREAM, 'critical stream ends') // RFC 9114 §6.2.1
      } else if (this.sessions.has(streamId)) {
        this.sessions.feed(streamId, bytes, fin)
      } else if (!this.sessions.isParked(streamId)) {
        this.classify(streamId, bytes, fin, now)
      }
    })
  }

  /** The peer reset its half of a stream that is not a session's. */
  streamReset (streamId: number): void {
    this.guard(streamId, () => {
      if (this.critical.has(streamId)) throw new H3Error(H3.CLOSED_CRITICAL_STREAM, 'critical stream reset')
      this.unclassified.delete(streamId)
      if (this.sessions.has(streamId) || this.sessions.isParked(streamId)) this.sessions.break(streamId, H3.REQUEST_CANCELLED, 'CONNECT stream reset')
      // Otherwise it never said what it was; our half of a bidirectional stream must end too, or its credit never returns.
      else if (streamId % 4 < 2) this.out.push({ kind: 'reset', streamId, code: H3.REQUEST_CANCELLED })
    })
  }

  /** The peer wants no more of a stream of ours that is not a session's. */
  streamStopped (streamId: number): void {
    this.guard(streamId, () => {
      // RFC 9114 §6.2.1, RFC 9204 §4.2: nobody may ask to close a critical stream.
      if (streamId % 4 >= 2) throw new H3Error(H3.CLOSED_CRITICAL_STREAM, 'critical stream stopped')
      this.sessions.break(streamId, H3.REQUEST_CANCELLED, 'CONNECT stream stopped')
    })
  }

  /** An HTTP datagram (RFC 9297 §2.1): quarter stream id, then the payload. */
  datagramReceived (bytes: Uint8Array): void {
    this.guard(-1, () => {
      const quarter = readVarint(bytes, 0)
      // A stream id is below 2^62, a quarter of one below 2^60.
      if (quarter === undefined || quarter.value >= 2 ** 60) throw new H3Error(H3.DATAGRAM_ERROR, 'datagram without a stream')
      const sessionId = quarter.value * 4
      // Datagrams may outrun or outlive their session; then they are dropped (draft §4.5).
      if (this.sessions.isOpen(sessionId)) this.out.push({ kind: 'datagram', sessionId, payload: bytes.subarray(quarter.next) })
    })
  }

  /** A datagram of a session, ready for the QUIC layer. */
  encodeDatagram (sessionId: number, payload: Uint8Array): Uint8Array {
    const head = encodeVarints(sessionId / 4)
    const out = new Uint8Array(head.length + payload.length)
    out.set(head)
    out.set(payload, head.length)
    return out
  }

  /** Server: answers a `request`; 200 opens the session, and the streams that waited follow. False when the session is gone. */
  respond (sessionId: number, status: number): boolean {
    return !this.dead && this.sessions.respond(sessionId, status)
  }

  /** Client: asks for a session; its id is that of the CONNECT stream. `now` in milliseconds. */
  connect (authority: string, path: string, headers: Readonly<Record<string, string>>, now: number): number {
    const sessionId = this.takeBidi()
    this.sessions.connect(sessionId, authority, path, headers, now)
    return sessionId
  }

  /** Takes the id of a new stream of ours in a session; the preamble must be its first bytes. */
  openStream (sessionId: number, bidi: boolean): { streamId: number, preamble: Uint8Array } {
    return { streamId: bidi ? this.takeBidi() : this.takeUni(), preamble: webTransportPreamble(bidi, sessionId) }
  }

  /** Closes a session (draft §6); its streams are the caller's to reset. Idempotent. */
  closeSession (sessionId: number, code: number, reason: string): void {
    if (!this.dead) this.sessions.close(sessionId, code, reason)
  }

  /** Asks the peer to finish soon (draft §4.7). */
  drainSession (sessionId: number): void {
    if (!this.dead) this.sessions.drain(sessionId)
  }

  /** Refuses sessions from now on and says so (RFC 9114 §5.2). Idempotent. */
  goaway (): void {
    if (this.goingAway || this.dead || this.controlId < 0) return
    this.goingAway = true
    const first = this.sessions.refuse()
    this.out.write(this.controlId, encodeGoaway(this.role === 'server' ? first : 0))
  }

  /** Gives up on streams that began before `since` and still do not say what they are, or wait for a session. */
  expire (since: number): void {
    for (const [streamId, { since: began }] of this.unclassified) {
      if (began >= since) continue
      this.unclassified.delete(streamId)
      if (streamId % 4 < 2) this.out.push({ kind: 'reset', streamId, code: H3.REQUEST_INCOMPLETE })
      this.out.push({ kind: 'stop', streamId, code: H3.REQUEST_INCOMPLETE })
    }
    this.sessions.expire(since)
  }

  private classify (streamId: number, bytes: Uint8Array, fin: boolean, now: number): void {
    let entry = this.unclassified.get(streamId)
    if (entry === undefined) {
      entry = { reader: new PreambleReader(streamId % 4 < 2), since: now }
      this.unclassified.set(streamId, entry)
    }
    const preamble = entry.reader.push(bytes)
    if (preamble === undefined && !fin) return
    this.unclassified.delete(streamId)
    if (preamble !== undefined) this.begin(streamId, preamble, fin, now)
    // RFC 9114 §4.1.1: a request that ends too early; a unidirectional stream that does is nothing at all (§6.2).
    else if (streamId % 4 < 2) this.out.push({ kind: 'reset', streamId, code: H3.REQUEST_INCOMPLETE })
  }

  private begin (streamId: number, preamble: Preamble, fin: boolean, now: number): void {
    if (preamble.kind === 'webtransport') {
      this.sessions.associate(streamId, preamble.sessionId, preamble.rest, fin, now)
    } else if (preamble.kind === 'request') {
      // RFC 9114 §6.1: only WebTransport lets a server open bidirectional streams.
      if (this.role === 'client') throw new H3Error(H3.STREAM_CREATION_ERROR, 'request from a server')
      this.sessions.begin(streamId, now)
      this.sessions.feed(streamId, preamble.rest, fin)
    } else {
      const reader = this.criticalReader(preamble.type)
      if (reader === undefined) {
        // RFC 9114 §6.2: an unknown type is no error, grease is one of them.
        if (!fin) this.out.push({ kind: 'stop', streamId, code: H3.STREAM_CREATION_ERROR })
        return
      }
      if (this.seen.has(preamble.type)) throw new H3Error(H3.STREAM_CREATION_ERROR, `second stream of type ${preamble.type}`)
      this.seen.add(preamble.type)
      this.critical.set(streamId, reader)
      reader(preamble.rest)
      if (fin) throw new H3Error(H3.CLOSED_CRITICAL_STREAM, 'critical stream ends')
    }
  }

  private criticalReader (type: number): CriticalReader | undefined {
    switch (type) {
      case STREAM_TYPE.CONTROL: {
        const control = new ControlReader(this.role)
        return (bytes) => {
          for (const event of control.push(bytes)) {
            if (event.kind === 'goaway') {
              this.out.push(event)
            } else {
              this.out.push({ kind: 'settings', webTransport: offersWebTransport(event.settings) })
              this.sessions.settle()
            }
          }
        }
      }
      case STREAM_TYPE.PUSH:
        // RFC 9114 §6.2.2: only servers push, and never beyond the MAX_PUSH_ID we do not send (§4.6).
        throw new H3Error(this.role === 'server' ? H3.STREAM_CREATION_ERROR : H3.ID_ERROR, 'push stream')
      case STREAM_TYPE.QPACK_ENCODER:
        return checkEncoderStream
      case STREAM_TYPE.QPACK_DECODER: {
        const check = new DecoderStreamCheck()
        return (bytes) => { check.push(bytes) }
      }
      default:
        return undefined
    }
  }

  /** Runs a step; an H3Error ends the stream or the connection, and a dead connection does nothing any more. */
  private guard (streamId: number, step: () => void): void {
    if (this.dead) return
    try {
      step()
    } catch (error) {
      const known = error instanceof H3Error ? error : new H3Error(H3.INTERNAL_ERROR, String(error))
      if (known.scope === 'stream') {
        this.sessions.break(streamId, known.code, known.message)
      } else {
        this.dead = true
        this.out.push({ kind: 'fatal', code: known.code, reason: known.message })
      }
    }
  }

  private takeUni (): number {
    this.nextUni += 4
    return this.nextUni - 4
  }

  private takeBidi (): number {
    this.nextBidi += 4
    return this.nextBidi - 4
  }
}
