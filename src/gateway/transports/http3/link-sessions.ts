/** The sessions of one QUIC connection: carries out what the HTTP/3 state machine says, and opens and closes streams for the application. */
import { TransportError } from '../viewer-transport.ts'
import type { SessionClose } from '../viewer-transport.ts'
import type { H3Connection } from './h3-connection.ts'
import { H3 } from './h3-errors.ts'
import type { H3Event } from './h3-events.ts'
import { LinkStreams } from './link-streams.ts'
import type { QuicheBinding, QuicheConnection } from './quiche-binding.ts'
import type { Http3Session, SessionHost } from './session.ts'
import { StreamCredit } from './stream-credit.ts'
import type { StreamWriter } from './stream-writer.ts'
import { WtStream } from './wt-stream.ts'
import type { StreamHost } from './wt-stream.ts'

/** Events that concern whoever owns the connection, a listener or a client. */
export type OwnerEvent = Extract<H3Event, { kind: 'request' | 'settings' | 'session-open' | 'session-refused' | 'plain-request' }>

/**
 * The close of a session waits until no stream has begun or ended for this long, milliseconds: the renderer of Chromium 156 crashes when
 * it comes between `createBidirectionalStream()` and its answer from the network process (26 of 100 pages that open streams all the
 * time), and loses code and reason when it comes together with the reset of a stream it reads (14 of 1000).
 */
const CALM_MS = 50
/** A peer that goes on opening streams for this long, milliseconds, is left without code and reason: that does not crash it. */
const MAX_CALM_WAIT_MS = 250

interface Untold {
  readonly sessionId: number
  readonly code: number
  readonly reason: string
  readonly hadStreams: boolean
  /** Of the first step that could have told it, milliseconds. */
  since: number | undefined
}

export interface LinkSessionsHooks {
  /** There is something to do at the next step. */
  wake (): void
  owner (event: OwnerEvent): void
  fatal (code: number, reason: string): void
  /** Smoothed round trip, milliseconds. */
  rtt (): number
}

export class LinkSessions implements StreamHost, SessionHost {
  readonly shutdown: StreamHost['shutdown']
  readonly streams: LinkStreams
  conn: QuicheConnection | undefined
  /** Milliseconds, of the current or last step. */
  now: number
  /** Of the session that ended last; -1 before any did. */
  lastEnded = -1
  /** That session was closed by this side: the peer has yet to read code and reason. */
  endedHere = false
  private readonly h3: H3Connection
  private readonly isServer: boolean
  private readonly hooks: LinkSessionsHooks
  private readonly credit: StreamCredit
  private readonly sessions = new Map<number, Http3Session>()
  private traffic = { bytesSent: 0, bytesReceived: 0 }
  /** When the peer last opened a stream of a session, or lost those it had. */
  private stirredAt = -Infinity
  /** Over for the application, not yet told to the peer. */
  private untold: Untold | undefined

  constructor (conn: QuicheConnection, h3: H3Connection, binding: QuicheBinding, isServer: boolean, hooks: LinkSessionsHooks, now: number) {
    this.conn = conn
    this.h3 = h3
    this.isServer = isServer
    this.shutdown = binding.Shutdown
    this.hooks = hooks
    this.now = now
    this.streams = new LinkStreams(conn, h3, isServer ? 0 : 1, binding.Shutdown.Write)
    this.credit = new StreamCredit(conn)
  }

  get count (): number { return this.sessions.size }

  /** Whether a bidirectional stream is open. */
  get hasRequests (): boolean {
    for (const { streams } of this.sessions.values()) {
      for (const streamId of streams.keys()) if (streamId % 4 < 2) return true
    }
    return false
  }

  sizes (): Readonly<Record<string, number>> {
    return { ...this.streams.sizes(), ...this.h3.sizes(), creditWaiters: this.credit.waiting }
  }

  /** The application has accepted the session; call while handling `session-open`. */
  attach (session: Http3Session): void { this.sessions.set(session.sessionId, session) }

  /** What arrived since the last step. */
  takeIn (conn: QuicheConnection): void {
    for (let datagram = conn.dgramRecvVec(); datagram !== null; datagram = conn.dgramRecvVec()) this.h3.datagramReceived(datagram)
    this.streams.read(this.now)
    this.credit.update()
  }

  /** Carries out the state machine's events. */
  carryOut (): void {
    while (this.h3.hasEvents && this.conn !== undefined) {
      for (const event of this.h3.takeEvents()) this.carryOutOne(event)
    }
  }

  /** Streams the peer stopped, and those that wait since before `since`, milliseconds. */
  sweep (since: number): void {
    this.h3.expire(since)
    this.streams.checkStopped()
    this.credit.expire(since)
    if (this.h3.hasEvents) this.hooks.wake()
  }

  /** Closes every session by the protocol. */
  closeAll (code: number, reason: string): void {
    for (const session of [...this.sessions.values()]) this.closeSession(session, code, reason)
  }

  /** The connection is going or gone: sessions end without the protocol. */
  finishAll (reason: string): void {
    this.credit.close(new TransportError('session-closed', reason))
    for (const sessionId of [...this.sessions.keys()]) this.finish(sessionId, { code: 0, reason, clean: false })
  }

  wake (): void { this.hooks.wake() }

  writable (writer: StreamWriter): void {
    this.streams.queue(writer)
    this.hooks.wake()
  }

  reset (writer: StreamWriter, code: number): void {
    this.streams.reset(writer, code, this.now, this.hooks.rtt())
    this.hooks.wake()
  }

  released (streamId: number): void {
    this.streams.remove(streamId)
    for (const session of this.sessions.values()) session.streams.delete(streamId)
  }

  async openStream (session: Http3Session, bidi: boolean): Promise<WtStream> {
    await this.credit.take(bidi, this.now)
    if (session.isClosed || this.conn === undefined) {
      this.credit.settle(bidi)
      throw new TransportError('session-closed', 'the session is closed')
    }
    const { streamId, preamble } = this.h3.openStream(session.sessionId, bidi)
    const stream = new WtStream(this, streamId, { send: true, receive: bidi })
    this.streams.add(stream)
    session.streams.set(streamId, stream)
    stream.writer.enqueue(preamble, false, () => { this.credit.settle(bidi) })
    this.writable(stream.writer)
    return stream
  }

  closeSession (session: Http3Session, code: number, reason: string): void {
    const { sessionId } = session
    const hadStreams = session.streams.size > 0
    this.finish(sessionId, { code, reason, clean: true })
    this.endedHere = true
    if (this.isServer) this.untold = { sessionId, code, reason, hadStreams, since: undefined }
    else this.h3.closeSession(sessionId, code, reason)
    this.hooks.wake()
  }

  /** Tells the peer of a session that was closed here, once it is calm. Returns when to ask again, milliseconds; Infinity for never. */
  farewell (now: number): number {
    const { untold } = this
    if (untold === undefined) return Infinity
    if (untold.since === undefined) {
      untold.since = now
      if (untold.hadStreams) this.stirredAt = now
    }
    const calmAt = this.stirredAt + CALM_MS
    const lastAt = untold.since + MAX_CALM_WAIT_MS
    if (now < calmAt && now < lastAt) return Math.min(calmAt, lastAt)
    this.untold = undefined
    if (now >= calmAt) this.h3.closeSession(untold.sessionId, untold.code, untold.reason)
    else this.hooks.fatal(H3.NO_ERROR, untold.reason)
    return Infinity
  }

  trafficStats (): { bytesSent: number, bytesReceived: number, rttMs: number } {
    const stats = this.conn?.stats()
    if (stats !== undefined) this.traffic = { bytesSent: stats.sentBytes, bytesReceived: stats.recvBytes }
    return { ...this.traffic, rttMs: this.hooks.rtt() }
  }

  private finish (sessionId: number, close: SessionClose): void {
    const session = this.sessions.get(sessionId)
    if (session === undefined) return
    session.finish(close)
    this.sessions.delete(sessionId)
    this.lastEnded = sessionId
    this.endedHere = false
  }

  private carryOutOne (event: H3Event): void {
    switch (event.kind) {
      case 'write':
        this.streams.writeOwn(event.streamId, event.bytes, event.fin)
        return
      case 'reset':
        this.streams.dropOwn(event.streamId)
        this.shut(event.streamId, this.shutdown.Write, event.code)
        return
      case 'stop':
        this.shut(event.streamId, this.shutdown.Read, event.code)
        return
      case 'stream':
        this.accept(event)
        return
      case 'session-closed':
        this.finish(event.sessionId, { code: event.code, reason: event.reason, clean: event.clean })
        return
      case 'fatal':
        this.hooks.fatal(event.code, event.reason)
        return
      case 'request':
      case 'settings':
      case 'session-open':
      case 'session-refused':
      case 'plain-request':
        this.hooks.owner(event)
        break
      // The relay's protocol has no datagrams, and says `drain` on its control stream.
      case 'datagram':
      case 'session-draining':
      case 'goaway': break
    }
  }

  private accept (event: Extract<H3Event, { kind: 'stream' }>): void {
    const { streamId } = event
    const bidi = streamId % 4 < 2
    const session = this.sessions.get(event.sessionId)
    this.stirredAt = this.now
    if (session === undefined || !session.hasRoom) {
      const code = session === undefined ? H3.WT_SESSION_GONE : H3.WT_BUFFERED_STREAM_REJECTED
      if (bidi) this.shut(streamId, this.shutdown.Write, code)
      if (!event.fin) this.shut(streamId, this.shutdown.Read, code)
      return
    }
    const stream = new WtStream(this, streamId, { send: bidi, receive: true }, event)
    if (!stream.over) {
      this.streams.add(stream)
      session.streams.set(streamId, stream)
    }
    session.accept(stream, bidi)
  }

  private shut (streamId: number, direction: number, code: number): void {
    try {
      this.conn?.streamShutdown(streamId, direction, code)
    } catch {
      // quiche has already let go of that half.
    }
  }
}
