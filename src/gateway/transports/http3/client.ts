/** The Node side of WebTransport over HTTP/3: one UDP socket and one connection a session. */
import { X509Certificate, createHash, randomBytes } from 'node:crypto'
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { systemClock } from '../../../clock.ts'
import type { Clock } from '../../../clock.ts'
import type { TransportSession } from '../viewer-transport.ts'
import { Endpoint, SWEEP_MS } from './endpoint.ts'
import { H3Connection } from './h3-connection.ts'
import { H3 } from './h3-errors.ts'
import { Link } from './link.ts'
import type { LinkEnd } from './link-types.ts'
import type { OwnerEvent } from './link-sessions.ts'
import { CONNECTION_ID_LENGTH } from './packet-header.ts'
import { loadQuiche } from './quiche-binding.ts'
import type { HostPort, QuicheBinding } from './quiche-binding.ts'
import { clientConfig } from './quiche-config.ts'
import type { QuicParameters } from './quiche-config.ts'
import { Http3Session } from './session.ts'

/** The form of `serverCertificateHashes` in browsers and of `certificateHashes` in `GET /v1/transport`, with the value as bytes. */
export interface CertificateHash {
  readonly algorithm: 'sha-256'
  readonly value: Uint8Array
}

/** Exactly one of `certificateHashes` and `ca` says whom to trust. */
export interface ConnectOptions {
  /** SHA-256 of the DER certificates that are accepted, whoever issued them. */
  readonly certificateHashes?: readonly CertificateHash[]
  /** PEM of the authorities to trust; the certificate must then name the host. */
  readonly ca?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
  /** Until the session is open, milliseconds; 5000 by default. */
  readonly timeoutMs?: number
  /** Without a packet from the server the connection is given up, milliseconds; 30,000 by default. */
  readonly idleTimeoutMs?: number
  /** Streams the server may have open at once; 256 by default. */
  readonly maxStreams?: number
  readonly congestionControl?: QuicParameters['congestionControl']
  readonly clock?: Clock
  /** Called in the turn the session opens, before anything that came with it is handed out. */
  readonly opened?: (session: TransportSession) => void
}

/** The server does not let us in: wrong certificate, an HTTP status, no WebTransport, no answer. */
export class ConnectError extends Error {
  override readonly name = 'ConnectError'
  /** Of the response to the CONNECT, where there was one. */
  readonly status: number | undefined

  constructor (message: string, status?: number) {
    super(message)
    this.status = status
  }
}

let serial = 0

/**
 * Opens a WebTransport session to an `https:` URL.
 * @throws ConnectError when the server refuses or does not answer, EngineUnavailableError without the native binding, the signal's reason
 */
export async function connectHttp3 (url: string | URL, options: ConnectOptions): Promise<TransportSession> {
  const target = new URL(url)
  if (target.protocol !== 'https:') throw new ConnectError('the URL must be https:')
  if ((options.certificateHashes === undefined) === (options.ca === undefined)) throw new ConnectError('give certificateHashes or ca')
  options.signal?.throwIfAborted()
  const binding = await loadQuiche()
  const hostname = target.hostname.replace(/^\[|\]$/g, '')
  const host = isIP(hostname) === 0 ? (await lookup(hostname)).address : hostname
  const attempt = new Attempt(binding, target, hostname, { host, port: Number(target.port === '' ? 443 : target.port) }, options)
  return attempt.run()
}

class Attempt {
  private readonly binding: QuicheBinding
  private readonly target: URL
  private readonly hostname: string
  private readonly server: HostPort
  private readonly options: ConnectOptions
  private readonly clock: Clock
  private readonly endpoint: Endpoint
  private readonly h3 = new H3Connection({ role: 'client', maxSessions: 1, maxParkedStreams: 16 })
  private settle: { resolve: (session: TransportSession) => void, reject: (error: Error) => void } | undefined
  private link: Link | undefined

  constructor (binding: QuicheBinding, target: URL, hostname: string, server: HostPort, options: ConnectOptions) {
    this.binding = binding
    this.target = target
    this.hostname = hostname
    this.server = server
    this.options = options
    this.clock = options.clock ?? systemClock
    this.endpoint = new Endpoint(server.host, this.clock, {
      // A stateless reset is addressed to nobody (RFC 9000 §10.3).
      unrouted: (packet, from) => { this.link?.receive(packet, from) },
      sweep: (now) => { this.link?.sweep(now - this.timeoutMs - SWEEP_MS) },
      failed: (error) => { this.fail(new ConnectError(error.message)) }
    })
  }

  private get timeoutMs (): number { return this.options.timeoutMs ?? 5000 }

  async run (): Promise<TransportSession> {
    const any = isIP(this.server.host) === 6 ? '::' : '0.0.0.0'
    const local = await this.endpoint.bind(any, 0)
    const { signal } = this.options
    const abort = (): void => { this.fail(signal?.reason instanceof Error ? signal.reason : new ConnectError('aborted')) }
    const timer = setTimeout(() => { this.fail(new ConnectError(`no session within ${this.timeoutMs} ms`)) }, this.timeoutMs)
    signal?.addEventListener('abort', abort, { once: true })
    try {
      return await new Promise<TransportSession>((resolve, reject) => {
        this.settle = { resolve, reject }
        if (signal?.aborted === true) abort()
        else this.start(local)
      })
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
    }
  }

  private start (local: HostPort): void {
    const config = clientConfig(this.binding, this.options.ca, {
      idleTimeoutMs: this.options.idleTimeoutMs ?? 30_000,
      maxStreamsBidi: this.options.maxStreams ?? 256,
      congestionControl: this.options.congestionControl ?? 'cubic'
    })
    const scid = randomBytes(CONNECTION_ID_LENGTH)
    // RFC 6066 §3: the server name indication cannot be an address.
    const serverName = isIP(this.hostname) === 0 ? this.hostname : null
    const conn = this.binding.Connection.connect(serverName, scid, local, this.server, config)
    this.link = new Link({
      binding: this.binding,
      conn,
      h3: this.h3,
      isServer: false,
      local,
      peer: this.server,
      hooks: {
        wake: (link) => { this.endpoint.wake(link) },
        packetBuffer: () => this.endpoint.packetBuffer(),
        transmit: (length, to) => { this.endpoint.transmit(length, to) },
        issueId: (link) => {
          const id = randomBytes(CONNECTION_ID_LENGTH)
          this.endpoint.route(id, link)
          // Clients send no stateless resets, so nobody needs to know this token.
          return { id, resetToken: BigInt(`0x${randomBytes(16).toString('hex')}`) }
        },
        retireId: (id) => { this.endpoint.unroute(id) },
        established: () => this.verify(conn.peerCertChain()),
        owner: (_link, event) => { this.handle(event) },
        ending: (_link, end) => { this.ending(end) },
        gone: (link) => {
          this.endpoint.remove(link)
          this.endpoint.close()
        }
      }
    }, this.clock.monotonic())
    this.endpoint.route(scid, this.link)
    this.endpoint.wake(this.link)
  }

  /** Before anything is sent: the certificate is one of those pinned, or TLS has verified it and it names the host. */
  private verify (chain: readonly Uint8Array[] | null): boolean {
    const der = chain?.[0]
    const problem = der === undefined ? 'the server sent no certificate' : this.distrust(der)
    if (problem === undefined) return true
    this.fail(new ConnectError(problem))
    return false
  }

  private distrust (der: Uint8Array): string | undefined {
    const hashes = this.options.certificateHashes
    if (hashes !== undefined) {
      const digest = createHash('sha256').update(der).digest()
      if (!hashes.some((hash) => digest.equals(hash.value))) return 'the certificate is not one of those pinned'
    }
    const certificate = new X509Certificate(der)
    const now = this.clock.now()
    if (now < Date.parse(certificate.validFrom) || now > Date.parse(certificate.validTo)) return 'the certificate is not valid now'
    if (hashes !== undefined) return undefined
    const named = isIP(this.hostname) === 0 ? certificate.checkHost(this.hostname) : certificate.checkIP(this.hostname)
    return named === undefined ? `the certificate does not name ${this.hostname}` : undefined
  }

  private handle (event: OwnerEvent): void {
    switch (event.kind) {
      case 'settings':
        if (!event.webTransport) this.fail(new ConnectError('the server does not offer WebTransport'))
        else this.h3.connect(this.target.host, this.target.pathname + this.target.search, this.options.headers ?? {}, this.clock.monotonic())
        return
      case 'session-open':
        this.open(event.sessionId)
        return
      case 'session-refused':
        this.fail(new ConnectError(`the server answered ${event.status}`, event.status))
        break
      case 'request':
      case 'plain-request': break
    }
  }

  private open (sessionId: number): void {
    const { link, settle } = this
    if (link === undefined || settle === undefined) return
    const session = new Http3Session(link.web, `h3c-${++serial}`, sessionId, {
      path: this.target.pathname + this.target.search,
      authority: this.target.host,
      headers: this.options.headers ?? {},
      peer: { ip: this.server.host, port: this.server.port }
    }, this.options.maxStreams ?? 256)
    link.web.attach(session)
    this.settle = undefined
    this.options.opened?.(session)
    settle.resolve(session)
  }

  /** Ends the attempt. A session that is already open ends by itself. */
  private fail (error: Error): void {
    const { settle, link } = this
    this.settle = undefined
    if (link === undefined) this.endpoint.close()
    else if (link.isEstablished) link.close(H3.REQUEST_CANCELLED, '')
    else link.abandon()
    settle?.reject(error)
  }

  private ending (end: LinkEnd): void {
    const error = end.local ?? end.peer
    const detail = error === null ? 'the server does not answer' : `closed with ${error.isApp ? 'application' : 'transport'} code 0x${error.errorCode.toString(16)}`
    this.settle?.reject(new ConnectError(detail))
    this.settle = undefined
  }
}
