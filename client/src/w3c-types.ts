/** The parts of the Streams, Fetch and WebTransport standards that the client uses; the compiler has no DOM types. */

export interface W3cReader<T> {
  read (): Promise<{ readonly done: boolean, readonly value?: T | undefined }>
  cancel (reason?: unknown): Promise<void>
}

export interface W3cReadable<T> {
  getReader (): W3cReader<T>
}

export interface W3cWriter {
  write (chunk: Uint8Array): Promise<void>
  close (): Promise<void>
  abort (reason?: unknown): Promise<void>
  readonly closed: Promise<unknown>
}

export interface W3cWritable {
  getWriter (): W3cWriter
}

export interface W3cWebTransport {
  readonly ready: Promise<unknown>
  readonly closed: Promise<{ readonly closeCode?: number, readonly reason?: string } | undefined>
  readonly incomingUnidirectionalStreams: W3cReadable<W3cReadable<Uint8Array>>
  createBidirectionalStream (): Promise<{ readonly readable: W3cReadable<Uint8Array>, readonly writable: W3cWritable }>
  close (info?: { readonly closeCode?: number, readonly reason?: string }): void
}

export interface W3cWebTransportOptions {
  readonly serverCertificateHashes?: ReadonlyArray<{ readonly algorithm: string, readonly value: Uint8Array<ArrayBuffer> }>
  /** What ponyfills take beyond the standard. */
  readonly [extra: string]: unknown
}

export type W3cWebTransportConstructor = new (url: string, options?: W3cWebTransportOptions) => W3cWebTransport

export interface FetchResponse {
  readonly status: number
  readonly headers: { forEach (visit: (value: string, name: string) => void): void }
  readonly body: W3cReadable<Uint8Array> | null
  text (): Promise<string>
}

export interface FetchInit {
  readonly method: 'GET'
  readonly headers: Record<string, string>
  readonly signal: AbortSignal
  readonly cache?: 'no-store'
}

/** The part of `fetch` the client uses. */
export type FetchLike = (url: string, init: FetchInit) => Promise<FetchResponse>
