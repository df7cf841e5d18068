/**
 * The low-level N-API binding of Cloudflare quiche inside `@matrixai/quic` 2.0.9, typed for what this engine uses. The package's own
 * server and client classes are not used: they force a Retry on everyone and offer no bounds.
 */
import { createRequire } from 'node:module'
import { isMainThread } from 'node:worker_threads'

export interface HostPort {
  readonly host: string
  readonly port: number
}

export interface QuicheConfig {
  setApplicationProtos (protocols: string[]): void
  setMaxIdleTimeout (milliseconds: number): void
  setMaxRecvUdpPayloadSize (bytes: number): void
  setMaxSendUdpPayloadSize (bytes: number): void
  setInitialMaxData (bytes: number): void
  setInitialMaxStreamDataBidiLocal (bytes: number): void
  setInitialMaxStreamDataBidiRemote (bytes: number): void
  setInitialMaxStreamDataUni (bytes: number): void
  setInitialMaxStreamsBidi (streams: number): void
  setInitialMaxStreamsUni (streams: number): void
  setMaxStreamWindow (bytes: number): void
  setMaxConnectionWindow (bytes: number): void
  setActiveConnectionIdLimit (ids: number): void
  setDisableActiveMigration (disable: boolean): void
  setCcAlgorithmName (name: string): void
  enableHystart (enable: boolean): void
  enablePacing (enable: boolean): void
  enableDgram (enable: boolean, receiveQueue: number, sendQueue: number): void
  setStatelessResetToken (token: bigint | null): void
}

export interface QuichePathStats {
  readonly active: boolean
  readonly lost: number
  /** Milliseconds. */
  readonly rtt: number
  readonly cwnd: number
  readonly deliveryRate: number
}

export interface QuicheCloseReason {
  readonly isApp: boolean
  readonly errorCode: number
  readonly reason: Uint8Array
}

/** Errors are thrown with quiche's name of them as message: `StreamReset(7)`, `InvalidStreamState(4)`, `TlsFail`, … */
export interface QuicheConnection {
  recv (data: Uint8Array, info: { readonly from: HostPort, readonly to: HostPort }): number
  send (out: Uint8Array): readonly [length: number, info: { readonly to: HostPort }] | null
  sendOnPath (out: Uint8Array, from: HostPort, to: HostPort): readonly [length: number, info: { readonly to: HostPort }] | null
  streamRecv (streamId: number, out: Uint8Array): readonly [length: number, fin: boolean] | null
  streamSend (streamId: number, data: Uint8Array, fin: boolean): number | null
  streamShutdown (streamId: number, direction: number, code: number): unknown
  streamCapacity (streamId: number): number
  streamFinished (streamId: number): boolean
  peerStreamsLeftBidi (): number
  peerStreamsLeftUni (): number
  readable (): Iterable<number>
  writable (): Iterable<number>
  dgramRecvVec (): Uint8Array | null
  dgramSend (data: Uint8Array): unknown
  /** Milliseconds, rounded down. */
  timeout (): number | null
  onTimeout (): void
  /** Sends a PING when nothing else wants an acknowledgement (RFC 9000 §19.2). */
  sendAckEliciting (): void
  newSourceCid (id: Uint8Array, resetToken: bigint, retireIfNeeded: boolean): number
  sourceCidsLeft (): number
  retiredScidNext (): Uint8Array | null
  pathEventNext (): { readonly type: string } | null
  close (application: boolean, code: number, reason: Uint8Array): unknown
  peerCertChain (): Uint8Array[] | null
  isEstablished (): boolean
  isDraining (): boolean
  isClosed (): boolean
  isTimedOut (): boolean
  peerError (): QuicheCloseReason | null
  localError (): QuicheCloseReason | null
  stats (): { readonly sentBytes: number, readonly recvBytes: number }
  pathStats (): QuichePathStats[]
}

export interface QuicheBinding {
  readonly Shutdown: { readonly Read: number, readonly Write: number }
  readonly Config: {
    withBoringSslCtx (
      verifyPeer: boolean, allowFailure: boolean, ca: Uint8Array | null, keys: Uint8Array[] | null, certs: Uint8Array[] | null, signatures: string | null
    ): QuicheConfig
  }
  readonly Connection: {
    connect (serverName: string | null, scid: Uint8Array, local: HostPort, remote: HostPort, config: QuicheConfig): QuicheConnection
    accept (scid: Uint8Array, odcid: Uint8Array | null, local: HostPort, remote: HostPort, config: QuicheConfig): QuicheConnection
  }
  retry (scid: Uint8Array, dcid: Uint8Array, newScid: Uint8Array, token: Uint8Array, version: number, out: Uint8Array): number
  versionIsSupported (version: number): boolean
}

/** The native engine cannot run here; `auto` then takes another one. */
export class EngineUnavailableError extends Error {
  override readonly name = 'EngineUnavailableError'
}

/**
 * The package with the prebuilt binding, straight: `@matrixai/quic` around it would bring a dozen packages for its own server, which
 * this engine does not use. One package a platform, all of the same version.
 */
const PACKAGE = `@matrixai/quic-${process.platform}-${process.arch}`
let loaded: Promise<QuicheBinding> | undefined

async function load (): Promise<QuicheBinding> {
  // Loaded in two threads of one process the binding ends in a segmentation fault.
  if (!isMainThread) throw new EngineUnavailableError('the quiche binding loads in the main thread only')
  try {
    return createRequire(import.meta.url)(PACKAGE) as QuicheBinding
  } catch (cause) {
    throw new EngineUnavailableError(`no quiche binding (${PACKAGE}): ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
}

/** The binding, loaded once a process. @throws EngineUnavailableError on platforms without a prebuilt one, and in worker threads */
export function loadQuiche (): Promise<QuicheBinding> {
  loaded ??= load()
  return loaded
}

/** The code inside `StreamReset(n)` or `StreamStopped(n)`, or undefined for any other error. */
export function streamErrorCode (error: unknown, kind: 'StreamReset' | 'StreamStopped'): number | undefined {
  const match = error instanceof Error ? /^(StreamReset|StreamStopped)\((\d+)\)$/.exec(error.message) : null
  return match?.[1] === kind ? Number(match[2]) : undefined
}

/** quiche no longer has the stream: everything read, everything acknowledged; or it was never opened. */
export function streamIsGone (error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('InvalidStreamState')
}

/** Whether quiche has let go of a stream of ours: all of it acknowledged, all of it read. */
export function isCollected (conn: QuicheConnection, streamId: number): boolean {
  try {
    conn.streamCapacity(streamId)
    return false
  } catch (error) {
    return streamIsGone(error)
  }
}

/** quiche's loss timer runs while anything is unacknowledged, and is due sooner than this plus three round trips; its idle timer later. */
const LOSS_TIMER_MS = 1_000

/**
 * Whether no packet is unacknowledged. quiche does not tell; its next timer does.
 * @param rtt milliseconds
 */
export function isSettled (conn: QuicheConnection, rtt: number): boolean {
  const timeout = conn.timeout()
  return timeout === null || timeout > LOSS_TIMER_MS + 3 * rtt
}
