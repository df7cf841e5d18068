/**
 * One QUIC connection, stepped by the endpoint: the quiche object and its timers, pacing and close. No socket and no timer of its own:
 * datagrams and `now` come in, packets leave through `LinkHooks`. Nothing a peer sends makes it throw.
 */
import type { H3Connection } from './h3-connection.ts'
import { H3 } from './h3-errors.ts'
import { LinkSessions } from './link-sessions.ts'
import type { LinkSetup } from './link-types.ts'
import { MAX_PACKET_SIZE, Pacer } from './pacer.ts'
import { isCollected, isSettled } from './quiche-binding.ts'
import type { HostPort, QuicheConnection } from './quiche-binding.ts'

/** The path's state is worth a look this often, milliseconds: several times in the round trip of a city. */
const PATH_REFRESH_MS = 10
/** Former addresses of a peer that are still probed for losses; one that moves more often than this only loses time. */
const MAX_ABANDONED = 8
/** After the close of the last session the peer has this long to acknowledge it, or to leave, before the connection is closed regardless, milliseconds. */
const LINGER_MS = 500
/**
 * A client that waits for bytes and has heard nothing for this long sends a PING, milliseconds, and another after each such time: only who
 * sends hears by a stateless reset (RFC 9000 §10.3) that the server was restarted. Within two of them a killed gateway is back.
 */
const PING_MS = 1000

export class Link {
  readonly h3: H3Connection
  readonly web: LinkSessions
  readonly startedAt: number
  /** Where packets come from now; changes when the peer's NAT rebinds (RFC 9000 §9). */
  peer: HostPort
  /** When the next step is due, milliseconds; Infinity for never. */
  deadline = Infinity
  private readonly setup: LinkSetup
  private readonly pacer = new Pacer()
  private pathReadAt = -Infinity
  private rtt = 0
  private ready = false
  private received = false
  private closing = false
  private retiring = false
  private ended = false
  private timeoutAt = Infinity
  /** The peer's address that quiche has last accepted, and those before. */
  private settledPeer: HostPort
  private readonly abandoned: HostPort[] = []
  private lingerUntil = Infinity
  /** When a packet last came, or a PING went out for want of one. */
  private stirredAt: number

  constructor (setup: LinkSetup, now: number) {
    this.setup = setup
    this.h3 = setup.h3
    this.peer = setup.peer
    this.settledPeer = setup.peer
    this.startedAt = now
    this.stirredAt = now
    this.web = new LinkSessions(setup.conn, setup.h3, setup.binding, setup.isServer, {
      wake: () => { setup.hooks.wake(this) },
      owner: (event) => { setup.hooks.owner(this, event) },
      fatal: (code, reason) => { this.close(code, reason) },
      rtt: () => this.rtt
    }, now)
  }

  /** Undefined once it is over. */
  get conn (): QuicheConnection | undefined { return this.web.conn }

  get isEstablished (): boolean { return this.ready }

  /** Closed by this side or by the peer; it may still be draining (RFC 9000 §10.2). */
  get isClosed (): boolean { return this.closing || this.conn === undefined || this.conn.isDraining() }

  /** A datagram for this connection. Broken ones are dropped or end the connection, as RFC 9000 says. */
  receive (packet: Uint8Array, from: HostPort): void {
    const { conn } = this
    if (conn === undefined) return
    // Reusing the object spares an allocation a packet.
    if (from.port !== this.peer.port || from.host !== this.peer.host) this.peer = from
    try {
      conn.recv(packet, { from: this.peer, to: this.setup.local })
    } catch {
      // quiche has recorded the error when it is more than a packet to drop.
    }
    this.received = true
    this.setup.hooks.wake(this)
  }

  /** Does what is due, sends at most `budget` packets, and sets `deadline`. True when it wants another step soon. */
  step (now: number, budget: number): boolean {
    const { conn } = this
    if (conn === undefined) return false
    this.web.now = now
    if (now >= this.timeoutAt) {
      conn.onTimeout()
      this.probeAbandoned(conn)
    }
    if (!this.ready && conn.isEstablished()) this.establish(conn)
    const arrived = this.received
    if (arrived) this.stirredAt = now
    if (arrived && this.ready) this.takeIn(conn)
    this.received = false
    const farewellAt = this.web.farewell(now)
    this.web.carryOut()
    const pingAt = this.ping(conn, now)
    const more = this.sendOut(conn, now, budget, arrived)
    this.linger(conn, now)
    if (!this.ended && conn.isDraining()) this.conclude(conn, false)
    if (conn.isClosed()) {
      this.end(conn)
      return false
    }
    const timeout = conn.timeout()
    // quiche rounds down: a millisecond more, or the timer fires for nothing. What is due now is done at the next step, however soon.
    this.timeoutAt = timeout === null ? Infinity : now + timeout
    this.deadline = Math.min(this.deadline, this.timeoutAt + 1, this.lingerUntil, farewellAt, pingAt)
    return more
  }

  /** Closes the connection with an application code; what is queued is dropped. Idempotent. */
  close (code: number, reason: string): void {
    const { conn } = this
    if (conn === undefined || this.closing) return
    this.closing = true
    try {
      conn.close(true, code, Buffer.from(reason))
    } catch {
      // It is closing already.
    }
    this.web.finishAll(reason)
    this.setup.hooks.wake(this)
  }

  /** Forgets the connection without a word to the peer: for handshakes that do not complete. */
  abandon (): void {
    const { conn } = this
    if (conn !== undefined) this.end(conn, true)
  }

  /** Closes every session by the protocol, and the connection once that has arrived, or soon. */
  retire (code: number, reason: string, now: number): void {
    this.retiring = true
    this.h3.goaway()
    this.web.closeAll(code, reason)
    this.lingerUntil = Math.min(this.lingerUntil, now + LINGER_MS)
    this.setup.hooks.wake(this)
  }

  /** Slow checks, a few times a second. */
  sweep (unfinishedSince: number): void {
    if (this.ready && !this.closing && this.conn !== undefined) this.web.sweep(unfinishedSince)
  }

  private establish (conn: QuicheConnection): void {
    this.ready = true
    this.received = true
    this.issueIds(conn)
    if (this.setup.hooks.established(this)) this.h3.start()
  }

  /** Spare ids let the peer probe and move to another path (RFC 9000 §5.1.1, §9.5). */
  private issueIds (conn: QuicheConnection): void {
    for (let left = conn.sourceCidsLeft(); left > 0; left--) {
      const { id, resetToken } = this.setup.hooks.issueId(this)
      conn.newSourceCid(id, resetToken, false)
    }
  }

  private takeIn (conn: QuicheConnection): void {
    let retired = false
    for (let id = conn.retiredScidNext(); id !== null; id = conn.retiredScidNext()) {
      this.setup.hooks.retireId(id)
      retired = true
    }
    if (retired && !conn.isDraining()) this.issueIds(conn)
    for (let event = conn.pathEventNext(); event !== null; event = conn.pathEventNext()) {
      if (event.type === 'PeerMigrated' && this.abandoned.length < MAX_ABANDONED) this.abandoned.push(this.settledPeer)
      if (event.type === 'PeerMigrated') this.settledPeer = this.peer
    }
    this.web.takeIn(conn)
  }

  /** True when it stopped for the budget, not for lack of something to send. */
  private sendOut (conn: QuicheConnection, now: number, budget: number, arrived: boolean): boolean {
    const { hooks } = this.setup
    this.deadline = this.web.streams.runDue(now, this.rtt)
    if (now - this.pathReadAt >= PATH_REFRESH_MS) this.readPath(conn, now)
    // Acknowledgements are not held back: what arrived is answered with a packet, on credit if need be.
    const tokens = Math.min(this.pacer.available(now), budget * MAX_PACKET_SIZE)
    const allowance = tokens >= MAX_PACKET_SIZE ? tokens : arrived ? MAX_PACKET_SIZE : 0
    let left = allowance
    let flushed = false
    if (left > 0 && this.web.streams.hasWriters) this.web.streams.write(left, now, this.rtt)
    while (left > 0) {
      const packet = hooks.packetBuffer()
      if (packet === undefined) {
        this.deadline = Math.min(this.deadline, now + 1)
        break
      }
      const sent = send(conn, packet)
      if (sent === null) {
        flushed = true
        break
      }
      hooks.transmit(sent[0], sent[1].to)
      left -= sent[0]
    }
    this.pacer.spend(allowance - left)
    if (flushed || (left <= 0 && allowance < budget * MAX_PACKET_SIZE)) this.pacer.ended(now, !flushed)
    // Only now: what an acknowledgement has shown to be lost is no longer in flight, and has just been sent again.
    if (flushed && this.web.streams.wantsSettled && isSettled(conn, this.rtt)) {
      this.web.streams.settled(now)
      return true
    }
    if (left > 0) return false
    const wait = this.pacer.wait(now)
    // Node's timers do not resolve less than a millisecond: shorter waits are for the next turn of the loop.
    if (wait < 1) return true
    this.deadline = Math.min(this.deadline, now + wait)
    return false
  }

  /**
   * quiche 0.18 never repeats what was lost on a path the peer has left: it waits for an acknowledgement on that path. So its probes go
   * out too, but to where the peer is now; the acknowledgement they bring makes everything before them count as lost (RFC 9002 §6.1).
   */
  private probeAbandoned (conn: QuicheConnection): void {
    for (const old of this.abandoned) {
      const packet = this.setup.hooks.packetBuffer()
      if (packet === undefined) return
      try {
        const sent = conn.sendOnPath(packet, this.setup.local, old)
        if (sent !== null) this.setup.hooks.transmit(sent[0], this.peer)
      } catch {
        // quiche has forgotten the path, and with it what was sent there.
      }
    }
  }

  /** Asks a silent server whether it is still there; returns when to ask again, milliseconds. */
  private ping (conn: QuicheConnection, now: number): number {
    if (this.setup.isServer || !this.ready || !this.web.hasRequests) return Infinity
    if (now >= this.stirredAt + PING_MS) {
      this.stirredAt = now
      conn.sendAckEliciting()
    }
    return this.stirredAt + PING_MS
  }

  private readPath (conn: QuicheConnection, now: number): void {
    this.pathReadAt = now
    const path = conn.pathStats().find((candidate) => candidate.active)
    if (path === undefined) return
    this.rtt = path.rtt
    this.pacer.update(path, now)
  }

  /**
   * After the last session the connection has no use: it is closed when the close of that session has been acknowledged. A server that
   * said it waits longer, for the peer to leave or LINGER_MS: Chromium 156 acknowledges code and reason before its page has them, and a
   * CONNECTION_CLOSE that comes between the two makes them "Connection lost" (42 of 60 sessions).
   */
  private linger (conn: QuicheConnection, now: number): void {
    if (this.closing || this.web.count > 0 || (this.web.lastEnded < 0 && !this.retiring)) return
    if (this.lingerUntil === Infinity) this.lingerUntil = now + LINGER_MS
    const awaitsPeer = this.setup.isServer && this.web.endedHere
    if (now >= this.lingerUntil || this.web.lastEnded < 0 || (!awaitsPeer && isCollected(conn, this.web.lastEnded))) {
      this.lingerUntil = Infinity
      this.close(H3.NO_ERROR, '')
      this.sendOut(conn, now, 1, true)
    }
  }

  private end (conn: QuicheConnection, timedOut = conn.isTimedOut()): void {
    if (!this.ended) this.conclude(conn, timedOut)
    this.web.conn = undefined
    this.deadline = Infinity
    this.setup.hooks.gone(this)
  }

  private conclude (conn: QuicheConnection, timedOut: boolean): void {
    this.ended = true
    this.web.finishAll(timedOut ? 'the connection timed out' : 'the connection was closed')
    this.setup.hooks.ending(this, { established: this.ready, timedOut, local: conn.localError(), peer: conn.peerError() })
  }
}

function send (conn: QuicheConnection, packet: Buffer): ReturnType<QuicheConnection['send']> {
  try {
    return conn.send(packet)
  } catch {
    // A fatal error closes the connection inside quiche; `isClosed` tells.
    return null
  }
}
