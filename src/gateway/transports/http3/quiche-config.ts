/** QUIC parameters of both roles (RFC 9000 §18.2). */
import type { TlsMaterial } from '../viewer-transport.ts'
import { MAX_PACKET_SIZE } from './pacer.ts'
import type { QuicheBinding, QuicheConfig } from './quiche-binding.ts'

/** RFC 9114 §3.1. */
const ALPN = 'h3'
/** Chromium rejects `createBidirectionalStream` when it is out of credit: 128 failed 2 of 8 runs, 2000 none of 10. */
const MIN_STREAMS_BIDI = 2000
/** Three critical streams, and what an application sends beside its requests. */
const STREAMS_UNI = 128
const KIB = 1024
const MIB = 1024 * KIB

/**
 * Windows of a server: viewers send requests, so memory is what matters. 1 MiB a connection still takes 25 MB/s at 40 ms.
 * Windows of a client: whole shards come in; 16 MiB a stream is quiche's own maximum, and 100 MB/s at 160 ms.
 */
const SERVER_WINDOWS = { stream: 128 * KIB, maxStream: 512 * KIB, connection: 512 * KIB, maxConnection: MIB }
const CLIENT_WINDOWS = { stream: 4 * MIB, maxStream: 16 * MIB, connection: 16 * MIB, maxConnection: 24 * MIB }
/** Datagrams are read at every step; what comes faster may be lost. */
const DATAGRAM_QUEUE = 32
/** RFC 9000 §18.2: at least 2; one in use, one for the next path, two spare. */
const CONNECTION_IDS = 4

export interface QuicParameters {
  readonly idleTimeoutMs: number
  readonly maxStreamsBidi: number
  /** `cubic`, `reno` or `bbr`; `bbr2` aborts the process. */
  readonly congestionControl: 'cubic' | 'reno' | 'bbr'
}

function configure (config: QuicheConfig, windows: typeof SERVER_WINDOWS, parameters: QuicParameters): QuicheConfig {
  config.setApplicationProtos([ALPN])
  config.setMaxIdleTimeout(parameters.idleTimeoutMs)
  // As large as two bytes can say, which is all that a path could carry (see CONNECTION_ID_LENGTH).
  config.setMaxRecvUdpPayloadSize(16_383)
  config.setMaxSendUdpPayloadSize(MAX_PACKET_SIZE)
  config.setInitialMaxData(windows.connection)
  config.setMaxConnectionWindow(windows.maxConnection)
  config.setInitialMaxStreamDataBidiLocal(windows.stream)
  config.setInitialMaxStreamDataBidiRemote(windows.stream)
  config.setInitialMaxStreamDataUni(windows.stream)
  config.setMaxStreamWindow(windows.maxStream)
  config.setInitialMaxStreamsBidi(Math.max(MIN_STREAMS_BIDI, parameters.maxStreamsBidi))
  config.setInitialMaxStreamsUni(STREAMS_UNI)
  config.setActiveConnectionIdLimit(CONNECTION_IDS)
  config.setCcAlgorithmName(parameters.congestionControl)
  // quiche's schedule is not readable here and `Pacer` paces instead, but without it quiche 0.18 takes wrong send times for its round trips.
  // HyStart left slow start early in 5 of 9 runs at 100 Mbit/s and 40 ms, halving the rate; the pacer already spreads what it would prevent.
  config.enableHystart(false)
  config.enablePacing(true)
  config.enableDgram(true, DATAGRAM_QUEUE, DATAGRAM_QUEUE)
  return config
}

/** @throws Error when the certificate or key cannot be read; whether they belong together is for the caller to check */
export function serverConfig (binding: QuicheBinding, tls: TlsMaterial, parameters: QuicParameters): QuicheConfig {
  return configure(binding.Config.withBoringSslCtx(false, false, null, [Buffer.from(tls.key)], [Buffer.from(tls.cert)], null), SERVER_WINDOWS, parameters)
}

/** @param ca PEM; without it any certificate passes TLS and the caller must check it. @throws Error when `ca` cannot be used */
export function clientConfig (binding: QuicheBinding, ca: string | undefined, parameters: QuicParameters): QuicheConfig {
  const roots = ca === undefined ? null : Buffer.from(ca)
  return configure(binding.Config.withBoringSslCtx(true, roots === null, roots, null, null, null), CLIENT_WINDOWS, parameters)
}
