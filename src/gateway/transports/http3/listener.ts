/** One listening UDP port of the bundled engine. */
import { isIPv6 } from 'node:net'
import { createSecureContext } from 'node:tls'
import type { Clock } from '../../../clock.ts'
import { plainAddress } from '../../../limits/address-key.ts'
import { openGate } from '../../../limits/handshake-limiter.ts'
import type { EngineSizes, HandshakeFailure, ListenerEvents, ListenerOptions, PeerAddress, SessionDecision, SessionRequest, TlsMaterial, TransportListener } from '../viewer-transport.ts'
import { AdmissionControl, MAX_HALF_OPEN } from './admission.ts'
import { Endpoint, SWEEP_MS } from './endpoint.ts'
import { H3Connection } from './h3-connection.ts'
import { H3 } from './h3-errors.ts'
import type { ConnectRequest } from './h3-events.ts'
import { Link } from './link.ts'
import type { LinkEnd, LinkHooks } from './link-types.ts'
import type { OwnerEvent } from './link-sessions.ts'
import type { HostPort, QuicheBinding, QuicheConfig, QuicheConnection } from './quiche-binding.ts'
import { serverConfig } from './quiche-config.ts'
import type { QuicParameters } from './quiche-config.ts'
import { Http3Session } from './session.ts'

/** Streams of a connection that may wait for their session to open; browsers open none before. */
const MAX_PARKED_STREAMS = 16
/** The contract gives `close` a second; connections are given most of it to say goodbye. */
const CLOSE_MS = 800

interface Guest {
  /** `deciding`: the application has the request; `refused`: it said no; `served`: there is or was a session. */
  stage: 'handshake' | 'connected' | 'deciding' | 'refused' | 'served'
  request: SessionRequest | undefined
  /** Whether it counts towards `maxSessions`. */
  counted: boolean
}

let serial = 0

/** quiche takes a key that does not belong to the certificate without a word; Node's TLS says so. @throws Error */
function checkedConfig (binding: QuicheBinding, tls: TlsMaterial, parameters: QuicParameters): QuicheConfig {
  createSecureContext({ cert: tls.cert, key: tls.key })
  return serverConfig(binding, tls, parameters)
}

export class Http3Listener implements TransportListener {
  private readonly binding: QuicheBinding
  private readonly options: ListenerOptions
  private readonly events: ListenerEvents
  private readonly clock: Clock
  private readonly parameters: QuicParameters
  private readonly endpoint: Endpoint
  private readonly admission: AdmissionControl
  private readonly guests = new Map<Link, Guest>()
  private readonly hooks: LinkHooks
  private config: QuicheConfig
  private halfOpen = 0
  private sessions = 0
  private closing: Promise<void> | undefined

  /** @throws Error when the certificate or key cannot be used */
  constructor (binding: QuicheBinding, options: ListenerOptions, events: ListenerEvents, clock: Clock, congestionControl: QuicParameters['congestionControl']) {
    this.binding = binding
    this.options = options
    this.events = events
    this.clock = clock
    this.parameters = { idleTimeoutMs: options.idleTimeoutMs, maxStreamsBidi: options.maxStreamsPerSession, congestionControl }
    this.config = checkedConfig(binding, options.tls, this.parameters)
    this.admission = new AdmissionControl(binding, options.maxSessions + MAX_HALF_OPEN, options.resetSecret ?? options.tls.key, events.admit ?? openGate)
    this.endpoint = new Endpoint(options.host, clock, {
      unrouted: (packet, from) => { this.admit(packet, from) },
      sweep: (now) => { this.sweep(now) },
      failed: (error) => { events.log('error', 'HTTP/3 driver failed', { error: error.message, stack: error.stack }) }
    })
    this.hooks = {
      wake: (link) => { this.endpoint.wake(link) },
      packetBuffer: () => this.endpoint.packetBuffer(),
      transmit: (length, to) => { this.endpoint.transmit(length, to) },
      issueId: (link) => {
        const id = this.admission.newConnectionId()
        this.endpoint.route(id, link)
        return { id, resetToken: this.admission.resetTokenFor(id) }
      },
      retireId: (id) => { this.endpoint.unroute(id) },
      established: (link) => this.established(link),
      owner: (link, event) => { this.handle(link, event) },
      ending: (link, end) => { this.ending(link, end) },
      gone: (link) => {
        this.guests.delete(link)
        this.endpoint.remove(link)
      }
    }
  }

  /** @throws the system's error when the address cannot be had */
  async bind (): Promise<void> {
    const { host, port } = await this.endpoint.bind(this.options.host, this.options.port)
    if (!isLoopback(host)) {
      this.events.log('warn', 'the bundled HTTP/3 engine embeds quiche 0.18 of 2023, which lacks later denial-of-service fixes; caps and supervision limit the harm', { host, port })
    }
  }

  get port (): number { return this.endpoint.localAddress.port }

  get description (): string {
    const { maxSessions, maxStreamsPerSession } = this.options
    const sends = this.endpoint.offloads ? 'a burst of packets a system call' : 'a packet a system call'
    return `bundled HTTP/3 on quiche 0.18 (${this.parameters.congestionControl}, ${sends}); at most ${maxSessions} sessions, ` +
      `${maxStreamsPerSession} streams each, ${MAX_HALF_OPEN} handshakes in progress`
  }

  setTls (tls: TlsMaterial): void {
    try {
      this.config = checkedConfig(this.binding, tls, this.parameters)
    } catch (error) {
      this.events.log('error', 'certificate not taken over, the old one stays', { error: error instanceof Error ? error.message : String(error) })
    }
  }

  sizes (): EngineSizes {
    const sizes: Record<string, number> = { ...this.endpoint.sizes(), guests: this.guests.size, halfOpen: this.halfOpen, sessions: this.sessions }
    for (const link of this.guests.keys()) {
      for (const [name, size] of Object.entries(link.web.sizes())) sizes[name] = (sizes[name] ?? 0) + size
    }
    return sizes
  }

  close (): Promise<void> {
    this.closing ??= this.shutDown()
    return this.closing
  }

  private async shutDown (): Promise<void> {
    const now = this.clock.monotonic()
    for (const link of [...this.guests.keys()]) {
      if (link.isEstablished) link.retire(0, 'the relay is stopping', now)
      else link.abandon()
    }
    await new Promise<void>((resolve) => {
      const timer = setInterval(() => {
        const busy = [...this.guests.keys()].some((link) => !link.isClosed)
        if (busy && this.clock.monotonic() - now < CLOSE_MS) return
        clearInterval(timer)
        resolve()
      }, 10)
    })
    for (const link of [...this.guests.keys()]) link.abandon()
    this.endpoint.close()
  }

  private admit (packet: Buffer, from: HostPort): void {
    const now = this.clock.monotonic()
    const admission = this.admission.decide(packet, from, { links: this.guests.size, halfOpen: this.halfOpen }, now)
    if (admission.kind === 'reply') this.endpoint.reply(admission.packet, from)
    if (admission.kind === 'refuse') {
      this.events.handshakeFailed(admission.failure, admission.detail)
      if (admission.packet !== undefined) this.endpoint.reply(admission.packet, from)
    }
    if (admission.kind !== 'accept' || this.closing !== undefined) return
    const local = this.endpoint.localAddress
    let conn: QuicheConnection
    try {
      this.config.setStatelessResetToken(this.admission.resetTokenFor(admission.scid))
      conn = this.binding.Connection.accept(admission.scid, admission.odcid, local, from, this.config)
    } catch (error) {
      this.events.handshakeFailed('protocol', String(error))
      return
    }
    const h3 = new H3Connection({ role: 'server', maxSessions: 1, maxParkedStreams: MAX_PARKED_STREAMS })
    const link = new Link({ binding: this.binding, conn, h3, isServer: true, local, peer: from, hooks: this.hooks }, now)
    this.guests.set(link, { stage: 'handshake', request: undefined, counted: false })
    this.halfOpen++
    // The client keeps its first destination id until it has seen ours.
    this.endpoint.route(admission.scid, link)
    this.endpoint.route(admission.dcid, link)
    link.receive(packet, from)
  }

  private established (link: Link): boolean {
    this.halfOpen--
    const guest = this.guests.get(link)
    if (guest !== undefined) guest.stage = 'connected'
    return true
  }

  private handle (link: Link, event: OwnerEvent): void {
    const guest = this.guests.get(link)
    if (guest === undefined) return
    if (event.kind === 'request') this.consider(link, guest, event.sessionId, event.request)
    if (event.kind === 'session-open') this.open(link, guest, event.sessionId)
    if (event.kind === 'plain-request') this.events.log('debug', 'plain HTTP/3 request', { method: event.method, status: event.status })
  }

  private consider (link: Link, guest: Guest, sessionId: number, connect: ConnectRequest): void {
    if (connect.path.split('?', 1)[0] !== this.options.path) {
      this.refuse(link, guest, sessionId, 404, 'refused')
    } else if (this.sessions >= this.options.maxSessions || this.closing !== undefined || guest.stage !== 'connected') {
      this.refuse(link, guest, sessionId, 503, 'limit')
    } else {
      guest.stage = 'deciding'
      guest.request = { path: connect.path, authority: connect.authority, headers: connect.headers, peer: readable(link.peer) }
      // Counted while it is decided, or many at once would pass the limit.
      guest.counted = true
      this.sessions++
      const answer = (decision: SessionDecision): void => { this.answer(link, guest, sessionId, decision) }
      this.decide(guest.request).then(answer, () => { answer({ accept: false, status: 500 }) })
    }
  }

  private answer (link: Link, guest: Guest, sessionId: number, decision: SessionDecision): void {
    if (link.conn === undefined) return
    if (decision.accept && this.closing === undefined) {
      if (!link.h3.respond(sessionId, 200)) this.uncount(guest)
      link.web.wake()
    } else {
      this.uncount(guest)
      this.refuse(link, guest, sessionId, decision.accept ? 503 : decision.status, 'refused')
    }
  }

  private uncount (guest: Guest): void {
    if (guest.counted) this.sessions--
    guest.counted = false
  }

  private async decide (request: SessionRequest): Promise<SessionDecision> {
    try {
      return await this.events.decide(request)
    } catch (error) {
      this.events.log('error', 'session decision failed', { error: String(error) })
      return { accept: false, status: 500 }
    }
  }

  private refuse (link: Link, guest: Guest, sessionId: number, status: number, reason: HandshakeFailure): void {
    if (guest.stage !== 'served') guest.stage = 'refused'
    this.events.handshakeFailed(reason, `answered ${status}`)
    link.h3.respond(sessionId, status)
    // Nothing else is wanted of this connection once the answer has arrived.
    link.web.lastEnded = sessionId
    link.web.wake()
  }

  private open (link: Link, guest: Guest, sessionId: number): void {
    if (guest.request === undefined) return
    guest.stage = 'served'
    const session = new Http3Session(link.web, `h3-${++serial}`, sessionId, guest.request, this.options.maxStreamsPerSession)
    guest.request = undefined
    link.web.attach(session)
    const uncount = (): void => { this.uncount(guest) }
    session.closed.then(uncount, uncount)
    try {
      this.events.session(session)
    } catch (error) {
      this.events.log('error', 'session handler failed', { error: String(error) })
      session.close()
    }
  }

  /** Ends handshakes that take too long, and connections that do not become a session. */
  private sweep (now: number): void {
    for (const [link, guest] of this.guests) {
      const age = now - link.startedAt
      if (guest.stage === 'handshake' && age > this.options.handshakeTimeoutMs) {
        link.abandon()
      } else if ((guest.stage === 'connected' || guest.stage === 'deciding') && age > 2 * this.options.handshakeTimeoutMs) {
        link.close(H3.REQUEST_INCOMPLETE, 'no session')
      } else {
        link.sweep(now - this.options.handshakeTimeoutMs - SWEEP_MS)
      }
    }
  }

  private ending (link: Link, end: LinkEnd): void {
    const guest = this.guests.get(link)
    if (guest === undefined) return
    if (!end.established) this.halfOpen--
    this.uncount(guest)
    if (guest.stage === 'handshake' || guest.stage === 'connected' || guest.stage === 'deciding') {
      this.events.handshakeFailed(failureOf(end), describe(end))
    }
  }
}

function failureOf (end: LinkEnd): HandshakeFailure {
  const error = end.local ?? end.peer
  if (error === null || end.timedOut || error.errorCode === H3.REQUEST_INCOMPLETE) return 'timeout'
  // RFC 9001 §4.8: TLS alerts are 0x100 to 0x1ff among the transport's codes.
  return !error.isApp && error.errorCode >= 0x100 && error.errorCode <= 0x1ff ? 'tls' : 'protocol'
}

function describe (end: LinkEnd): string {
  const error = end.local ?? end.peer
  if (error === null) return 'timed out'
  return `${end.local === null ? 'peer' : 'we'} closed with ${error.isApp ? 'application' : 'transport'} code 0x${error.errorCode.toString(16)}`
}

/** IPv4 in IPv6 form, as a dual-stack socket reports it, becomes plain IPv4. */
function readable (peer: HostPort): PeerAddress {
  return { ip: plainAddress(peer.host), port: peer.port }
}

function isLoopback (host: string): boolean {
  return isIPv6(host) ? host === '::1' : host.startsWith('127.')
}
