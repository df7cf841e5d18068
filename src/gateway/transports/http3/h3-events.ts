/** What the HTTP/3 state machine tells the driver, in the order it must be carried out. */

/** A CONNECT for WebTransport that passed every check of the protocol. */
export interface ConnectRequest {
  readonly path: string
  readonly authority: string
  readonly headers: Readonly<Record<string, string>>
}

export type H3Event =
  /** Send on a stream of ours or a request stream; order within a stream matters. */
  | { readonly kind: 'write', readonly streamId: number, readonly bytes: Uint8Array, readonly fin: boolean }
  /** RESET_STREAM with an HTTP/3 code. */
  | { readonly kind: 'reset', readonly streamId: number, readonly code: number }
  /** STOP_SENDING with an HTTP/3 code. */
  | { readonly kind: 'stop', readonly streamId: number, readonly code: number }
  /** The peer's SETTINGS are here; `webTransport` says whether a client may ask for a session. */
  | { readonly kind: 'settings', readonly webTransport: boolean }
  /** Server: decide, then call `respond`. */
  | { readonly kind: 'request', readonly sessionId: number, readonly request: ConnectRequest }
  /** Server: something other than a session was asked for and has been answered. */
  | { readonly kind: 'plain-request', readonly method: string, readonly status: number }
  | { readonly kind: 'session-open', readonly sessionId: number }
  /** Client: the server said no. */
  | { readonly kind: 'session-refused', readonly sessionId: number, readonly status: number }
  | { readonly kind: 'session-draining', readonly sessionId: number }
  /** `clean`: by capsule or FIN; otherwise the CONNECT stream was reset or broken. */
  | { readonly kind: 'session-closed', readonly sessionId: number, readonly code: number, readonly reason: string, readonly clean: boolean }
  /** The peer opened a stream of an open session; from here on its bytes belong to the session. `rest` came with the preamble. */
  | { readonly kind: 'stream', readonly sessionId: number, readonly streamId: number, readonly rest: Uint8Array, readonly fin: boolean }
  | { readonly kind: 'datagram', readonly sessionId: number, readonly payload: Uint8Array }
  | { readonly kind: 'goaway', readonly id: number }
  /** The connection must be closed with this application code; nothing follows. */
  | { readonly kind: 'fatal', readonly code: number, readonly reason: string }

/** Collects events until the driver takes them. */
export class EventQueue {
  private events: H3Event[] = []

  get length (): number { return this.events.length }

  push (event: H3Event): void {
    this.events.push(event)
  }

  write (streamId: number, bytes: Uint8Array, fin = false): void {
    this.events.push({ kind: 'write', streamId, bytes, fin })
  }

  /** Ends both halves of a stream with one code. */
  abort (streamId: number, code: number): void {
    this.events.push({ kind: 'reset', streamId, code }, { kind: 'stop', streamId, code })
  }

  take (): readonly H3Event[] {
    const taken = this.events
    this.events = []
    return taken
  }
}
