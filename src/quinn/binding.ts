/**
 * What the N-API binding of quinn (`@moq/web-transport` 0.1.4) offers, typed for what this engine uses. It speaks HTTP/3, QPACK and
 * WebTransport on threads of its own; here there are promises only. It may be loaded in one thread of a process.
 */

/** A port for WebTransport; it tells no peer address and takes no limits. */
export interface NapiServer {
  /** The next CONNECT request, or null once the server is closed. */
  accept (): Promise<NapiRequest | null>
  /** No new connections from now on; the port comes free when the last connection has gone. */
  close (): void
}

export interface NapiServerFactory {
  /**
   * @param address IP address and port (`127.0.0.1:4433`, `[::1]:4433`); a port of 0 cannot be read back
   * @param certificate PEM, leaf first
   * @param key PEM
   * @throws Error when the address is taken, or certificate or key is none
   */
  bind (address: string, certificate: Buffer, key: Buffer): NapiServer
}

/** A CONNECT request that waits for its answer; its headers cannot be had. */
export interface NapiRequest {
  readonly url: Promise<string>
  ok (): Promise<NapiSession>
  /** @param status HTTP status */
  reject (status: number): Promise<void>
}

export interface NapiCloseInfo {
  readonly closeCode: number
  readonly reason: string
}

/** A session of either side. It ends after 30 s without a packet, and the engine sends no keep-alive. */
export interface NapiSession {
  /** Rejects when the session is over, as the other accepts and opens do. */
  acceptUni (): Promise<NapiRecvStream>
  acceptBi (): Promise<NapiBiStream>
  /** Waits until the peer gives credit for one more stream. */
  openUni (): Promise<NapiSendStream>
  openBi (): Promise<NapiBiStream>
  /** @throws Error when it is larger than `maxDatagramSize` or the session is over */
  sendDatagram (data: Buffer): void
  recvDatagram (): Promise<Buffer>
  /** Bytes. */
  maxDatagramSize (): number
  /** @param code application code, 32 bit */
  close (code: number, reason: string): void
  /** Resolves with code and reason of the peer when the session is over. */
  closed (): Promise<NapiCloseInfo>
}

/** Both halves of a stream, each to be taken once. */
export interface NapiBiStream {
  takeSend (): NapiSendStream
  takeRecv (): NapiRecvStream
}

export interface NapiSendStream {
  /** Resolves when quinn has taken all bytes; waits while the send window of the connection is full. */
  write (data: Buffer): Promise<void>
  /** Sends FIN. */
  finish (): Promise<void>
  /** RESET_STREAM with a WebTransport application code. */
  reset (code: number): Promise<void>
  setPriority (priority: number): Promise<void>
}

/** To be read up to null or stopped: until then its stream credit does not return to the peer. */
export interface NapiRecvStream {
  /** At most this many bytes, or null after FIN. */
  read (maxSize: number): Promise<Buffer | null>
  /** STOP_SENDING with a WebTransport application code. */
  stop (code: number): Promise<void>
}

export interface NapiClient {
  /** @param url `https://host:port/path?query` */
  connect (url: string): Promise<NapiSession>
}

export interface NapiClientFactory {
  /** Believes certificates that the system's authorities vouch for. */
  withSystemRoots (): NapiClient
  /** Believes certificates with one of these SHA-256 digests. */
  withCertificateHashes (hashes: Buffer[]): NapiClient
  /** Believes any certificate. */
  disableVerify (): NapiClient
}

export interface NapiBinding {
  readonly NapiServer: NapiServerFactory
  readonly NapiClient: NapiClientFactory
}
