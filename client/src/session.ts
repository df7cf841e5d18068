/** One bidirectional stream as the client uses it. */
export interface ClientStream {
  /** @throws ShardClientError reset, session-lost */
  write (chunk: Uint8Array): Promise<void>
  /** Sends FIN. */
  end (): Promise<void>
  /** The next bytes, null after FIN. */
  read (): Promise<Uint8Array | null>
  /** Gives up both directions; idempotent, never throws. */
  reset (code: number): void
}

/** A unidirectional stream the relay opened. */
export interface IncomingStream {
  read (): Promise<Uint8Array | null>
  cancel (): void
}

/** A WebTransport session, whatever carries it: a browser, the ponyfill over WebSocket, or an engine in Node. */
export interface ClientSession {
  /** @throws ShardClientError no-credit, session-lost */
  openStream (): Promise<ClientStream>
  /** Resolves with a reason when the session is over; never rejects. */
  readonly closed: Promise<string>
  close (): void
}

/** What a session is opened with. */
export interface SessionEndpoint {
  readonly url: string
  /** SHA-256 of certificates to accept besides what the trust store accepts; empty for a certificate of a public authority. */
  readonly certificateHashes: ReadonlyArray<Uint8Array<ArrayBuffer>>
  readonly signal: AbortSignal
  /** Called for every unidirectional stream, from the first on. */
  readonly onIncoming: (stream: IncomingStream) => void
}

/** Opens a session, or rejects with the reason. */
export type Connector = (endpoint: SessionEndpoint) => Promise<ClientSession>
