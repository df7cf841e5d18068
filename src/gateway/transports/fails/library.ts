import type { Duplex } from 'node:stream'
import type { Server } from 'node:tls'

// The part of @fails-components/webtransport 1.6.8 that this engine stands on: the event-handler interfaces of its
// `lib/types.ts`, implemented here in place of its own session and stream classes. Those clamp application codes to 8 bits
// and hide back-pressure behind web streams. The version is pinned exactly because of that.

/** What the library calls on a stream's `jsobj`. */
export interface StreamHandler {
  getReadBuffer (args: { byteSize: number }): ReadBuffer
  commitReadBuffer (args: Partial<ReadBuffer>): { stopReading?: boolean }
  onStreamRecvSignal (args: { code?: number, nettask: string }): void
  onStreamWrite (args: { success?: boolean }): void
  onStreamNetworkFinish (args: { nettask: string }): void
}

export interface ReadBuffer {
  buffer: Uint8Array
  byob: undefined
  readBytes: number
  fin: boolean
}

/** The library's stream; the optional members exist on the TCP transports only. */
export interface LibraryStream {
  jsobj: StreamHandler
  readonly streamid?: bigint
  sendInitialParameters?: () => void
  startReading (): void
  stopReading (): void
  drainReads (): void
  stopSending (code: number): void
  resetStream (code: number): void
  writeChunk (chunk: Uint8Array): void
  streamFinal (): void
  /** Gives the peer the credit for one more stream. */
  onClose?: () => void
  outgochunks?: unknown[]
  capsuleParser?: { wtstreams: Map<bigint, unknown>, scheduler: { Unregister (id: bigint): void } }
}

/** What the library calls on a session's `jsobj`, and reads there (`state`). */
export interface SessionHandler {
  state: 'connecting' | 'connected' | 'closed'
  onReady (args: unknown): void
  onClose (args: { errorcode?: number, error?: string }): void
  onDatagramReceived (args: unknown): void
  onGoAwayReceived (args: unknown): void
  onSessionStats (args: { smoothedRtt?: number }): void
  onDatagramStats (args: unknown): void
  onStream (args: { stream: LibraryStream, incoming: boolean, bidirectional: boolean }): void
}

/** A wish for a stream of our own. */
export interface StreamOrder { readonly sendGroup: null, readonly sendOrder: number, readonly waitUntilAvailable: boolean }

/** The library's session; the optional members exist on the TCP transports only. */
export interface LibrarySession {
  jsobj: SessionHandler
  /** The socket, HTTP/2 stream or guard that carries the session. */
  readonly stream?: Duplex
  sendInitialParameters?: () => void
  orderBidiStream (order: StreamOrder): boolean
  orderUnidiStream (order: StreamOrder): boolean
  orderSessionStats (): void
  close (args: { code: number, reason: string }): void
  closeConnection?: (args: { code: number, reason: string }) => void
}

/** A CONNECT or upgrade as the library reports it; `session` is a socket, an HTTP/2 stream or a native handle. */
export interface LibraryRequest {
  readonly header: Readonly<Record<string, unknown>>
  readonly peerAddress: string
  readonly protocol: string
  readonly session: unknown
  readonly head?: Buffer
}

/** An accepted request turned session; `userData` is what was given to `finishSessionRequest`. */
export interface LibraryVisit {
  readonly session: LibrarySession
  readonly userData?: unknown
}

/** The library's server object; this engine replaces its `on…` handlers. */
export interface LibraryServer {
  readonly transportInt: {
    startServer?: () => void
    stopServer (): void
    setJSRequestHandler (set: boolean): void
    addPath (path: string): void
    updateCert?: (cert: string, key: string, http2only: boolean) => void
    finishSessionRequest (args: Record<string, unknown>): void
    /** TCP transports: the HTTP/2 server. */
    readonly serverInt?: Server & { updateSettings (settings: Record<string, number>): void }
    /** HTTP/3: the wrapper of the UDP socket. */
    readonly socket?: { readonly socketInt?: NodeJS.EventEmitter }
  }
  readonly port: number | null
  createTransportInt (): Promise<void>
  onSessionRequest (args: LibraryRequest): void
  onHttpWTSessionVisitor (args: LibraryVisit): void
  onServerListening (args: { port?: number, host?: string }): void
  onServerError (error?: Error): void
  onServerClose (): void
}

export interface Library {
  readonly HttpServer: new (args: Readonly<Record<string, unknown>>) => LibraryServer
  /** Why HTTP/3 cannot be had, or undefined when its optional package loaded. */
  readonly http3Missing: string | undefined
}

const HTTP3_PACKAGE = '@fails-components/webtransport-transport-http3-quiche'

let loading: Promise<Library> | undefined

/** Loads the library once per process; what it prints from module scope about its optional HTTP/3 package is dropped. */
export function loadLibrary (): Promise<Library> {
  loading ??= load()
  return loading
}

async function load (): Promise<Library> {
  const restore = dropLoaderNoise()
  try {
    const module = await import('@fails-components/webtransport')
    // Its own attempt to load the package prints when it ends, in a later microtask than this promise settles.
    await module.quicheLoaded
    await new Promise(resolve => { setImmediate(resolve) })
    return { HttpServer: module.HttpServer as unknown as Library['HttpServer'], http3Missing: await missing() }
  } finally {
    restore()
  }
}

async function missing (): Promise<string | undefined> {
  try {
    await import(HTTP3_PACKAGE)
    return undefined
  } catch (error) {
    const absent = error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND'
    return absent ? `optional package ${HTTP3_PACKAGE} is not installed` : `optional package ${HTTP3_PACKAGE} does not load: ${String(error)}`
  }
}

const LOADER_NOISE = ['Problem loading http3-quiche transport', 'Did you install @fails-components', 'http3 loader:']

function dropLoaderNoise (): () => void {
  const { log, error } = console
  const filter = (print: (...args: unknown[]) => void) => (...args: unknown[]): void => {
    const [first] = args
    if (typeof first !== 'string' || !LOADER_NOISE.some(line => first.startsWith(line))) print.apply(console, args)
  }
  console.log = filter(log)
  console.error = filter(error)
  return () => { Object.assign(console, { log, error }) }
}
