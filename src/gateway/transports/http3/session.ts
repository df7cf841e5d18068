/** A WebTransport session on an HTTP/3 connection, as the gateway and the client see it. */
import { TransportError } from '../viewer-transport.ts'
import type { BidiStream, ReceiveStream, SendStream, SessionClose, SessionRequest, SessionStats, TransportSession } from '../viewer-transport.ts'
import type { WtStream } from './wt-stream.ts'

/** What a session needs of its connection. */
export interface SessionHost {
  /** @throws TransportError no-credit, session-closed */
  openStream (session: Http3Session, bidi: boolean): Promise<WtStream>
  closeSession (session: Http3Session, code: number, reason: string): void
  trafficStats (): { bytesSent: number, bytesReceived: number, rttMs: number }
}

/** WebTransport code for streams nobody takes; any would do, and 0 is what browsers use for "no reason". */
const UNWANTED = 0

export class Http3Session implements TransportSession {
  readonly id: string
  /** That of the CONNECT stream. */
  readonly sessionId: number
  readonly transport = 'webtransport'
  readonly request: SessionRequest
  readonly closed: Promise<SessionClose>
  /** Streams that are not over yet. */
  readonly streams = new Map<number, WtStream>()
  onStream: (stream: BidiStream) => void = refuse
  onUni?: (stream: ReceiveStream) => void
  private readonly host: SessionHost
  private readonly maxStreams: number
  private resolveClosed: ((close: SessionClose) => void) | undefined
  private final: SessionStats | undefined

  constructor (host: SessionHost, id: string, sessionId: number, request: SessionRequest, maxStreams: number) {
    this.host = host
    this.id = id
    this.sessionId = sessionId
    this.request = request
    this.maxStreams = maxStreams
    this.closed = new Promise((resolve) => { this.resolveClosed = resolve })
  }

  get isClosed (): boolean { return this.resolveClosed === undefined }

  openBidi (): Promise<BidiStream> { return this.host.openStream(this, true) }

  openUni (): Promise<SendStream> { return this.host.openStream(this, false) }

  close (code = 0, reason = ''): void {
    if (!this.isClosed) this.host.closeSession(this, code, reason)
  }

  stats (): SessionStats {
    return this.final ?? { ...this.host.trafficStats(), openStreams: this.streams.size }
  }

  /** Whether one more stream of the peer fits. */
  get hasRoom (): boolean { return this.streams.size < this.maxStreams }

  /** A stream the peer opened. */
  accept (stream: WtStream, bidi: boolean): void {
    try {
      if (bidi) this.onStream(stream)
      else if (this.onUni === undefined) stream.cancel(UNWANTED)
      else this.onUni(stream)
    } catch {
      // An application that throws loses the stream, not the connection.
      refuse(stream)
    }
  }

  /** The session is over, for every stream and for whoever waits for `closed`. Idempotent. */
  finish (close: SessionClose): void {
    const resolve = this.resolveClosed
    if (resolve === undefined) return
    this.resolveClosed = undefined
    const error = new TransportError('session-closed', close.reason === '' ? 'the session is closed' : `the session is closed: ${close.reason}`, close.code)
    for (const stream of [...this.streams.values()]) stream.abandon(error)
    this.final = { ...this.host.trafficStats(), openStreams: 0 }
    this.streams.clear()
    resolve(close)
  }
}

function refuse (stream: BidiStream): void {
  stream.reset(UNWANTED)
  stream.cancel(UNWANTED)
}
