import type { SessionTransportName } from './session-transports.ts'

/* A WebTransport session and its streams, whatever carries them and whichever end of them this is. */

export interface PeerAddress {
  readonly ip: string
  readonly port: number
}

/** The CONNECT request that opens a session; the engine has already checked `:protocol`. */
export interface SessionRequest {
  /** Path with query string, as sent. */
  readonly path: string
  readonly authority: string
  /** Names in lower case; empty where the engine does not tell them. */
  readonly headers: Readonly<Record<string, string>>
  /** Undefined where the engine does not tell it. */
  readonly peer: PeerAddress | undefined
}

/** The sending half of a stream. */
export interface SendStream {
  /**
   * Resolves when the engine has room for more; at most one write may be outstanding. The chunk must not change until then.
   * @throws TransportError when the peer stopped or reset the stream, or the session ended
   */
  write (chunk: Uint8Array): Promise<void>
  /** Sends FIN; resolves when the engine has accepted it. Later writes reject. */
  end (): Promise<void>
  /** RESET_STREAM with a WebTransport application code (32 bit); idempotent, never throws. */
  reset (code: number): void
  /** Aborted when the peer sends STOP_SENDING, with some engines at the next write only, or the session ends before FIN was accepted. */
  readonly stopped: AbortSignal
}

/** The receiving half of a stream. */
export interface ReceiveStream {
  /**
   * The next bytes, or null after FIN. One read at a time. Back-pressure: the engine holds at most its stream window.
   * @throws TransportError when the peer reset the stream or the session ended
   */
  read (): Promise<Uint8Array | null>
  /** STOP_SENDING with a WebTransport application code; idempotent, never throws. */
  cancel (code: number): void
}

export interface BidiStream extends SendStream, ReceiveStream {
  readonly id: string
}

export interface SessionClose {
  /** Application close code, 0 for none. */
  readonly code: number
  /** At most 1024 bytes of UTF-8. */
  readonly reason: string
  /** True when the peer closed the session by the protocol; false when the connection was lost or timed out. */
  readonly clean: boolean
}

export interface TransportStats {
  readonly bytesSent: number
  readonly bytesReceived: number
  readonly openStreams: number
  /** Smoothed round trip, milliseconds, where the engine knows it. */
  readonly rttMs?: number
}

export interface TransportSession {
  readonly id: string
  readonly transport: SessionTransportName
  readonly request: SessionRequest
  /** Called for every bidirectional stream the peer opens; set before the session is handed over returns. */
  onStream: (stream: BidiStream) => void
  /** Opens a stream from our side; rejects when the peer gives no credit within the engine's timeout. */
  openBidi (): Promise<BidiStream>
  openUni (): Promise<SendStream>
  /** Unidirectional streams the peer opens; an engine cancels them while this is not set. */
  onUni?: (stream: ReceiveStream) => void
  /** Closes the session; idempotent. Streams in flight are reset. */
  close (code?: number, reason?: string): void
  /** Resolves once, when the session is over; never rejects. */
  readonly closed: Promise<SessionClose>
  stats (): TransportStats
}

/** A stream or session ended otherwise than by FIN. */
export class TransportError extends Error {
  override readonly name = 'TransportError'
  readonly kind: 'reset' | 'stopped' | 'session-closed' | 'no-credit' | 'protocol'
  /** WebTransport application error code, where one was sent. */
  readonly applicationCode: number | undefined

  constructor (kind: TransportError['kind'], message: string, applicationCode?: number) {
    super(message)
    this.kind = kind
    this.applicationCode = applicationCode
  }
}
