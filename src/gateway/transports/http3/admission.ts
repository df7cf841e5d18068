/** What a server does with a datagram that belongs to no connection: begin one, answer without state, or nothing. No socket, no clock. */
import { createHash, randomBytes, randomInt } from 'node:crypto'
import type { AddressProof, HandshakeGate } from '../../../limits/handshake-limiter.ts'
import { TokenBucket } from '../../../limits/rate.ts'
import type { HandshakeFailure } from '../viewer-transport.ts'
import { checkToken, issueToken, resetToken, resetTokenInteger, statelessReset } from './address-token.ts'
import { closeInitial, QUIC_ERROR } from './initial-packet.ts'
import { CONNECTION_ID_LENGTH, MIN_INITIAL_DATAGRAM, MIN_INITIAL_DCID, parseHeader, versionNegotiation } from './packet-header.ts'
import type { PacketHeader } from './packet-header.ts'
import type { HostPort, QuicheBinding } from './quiche-binding.ts'

/** Handshakes in progress from which every address must be proven by a Retry: more than a city's viewers begin at once in a second. */
export const RETRY_THRESHOLD = 128
/** Handshakes in progress at most. One costs 33 KB until it completes or times out. */
export const MAX_HALF_OPEN = 512
/** Stateless resets a second: enough to tell a whole relay's viewers of a restart within seconds, too few to be worth provoking. */
const RESETS_PER_SECOND = 500
/** Refusals sent a second, some 50 µs of cryptography each; beyond that a client learns by its own timeout. */
const REFUSALS_PER_SECOND = 500
/** A Retry packet is the long header, three ids, the token and a tag. */
const RETRY_BUFFER = 256

export type Admission =
  | { readonly kind: 'drop' }
  /** To be counted, and answered with the packet if there is one. */
  | { readonly kind: 'refuse', readonly failure: HandshakeFailure, readonly detail: string, readonly packet: Buffer | undefined }
  | { readonly kind: 'reply', readonly packet: Buffer }
  /** `odcid` only after a Retry. */
  | { readonly kind: 'accept', readonly scid: Buffer, readonly odcid: Buffer | null, readonly dcid: Buffer }

export interface Load {
  readonly links: number
  readonly halfOpen: number
}

type Initial = Extract<PacketHeader, { kind: 'initial' }>

const DROP: Admission = { kind: 'drop' }

const REASONS = { 'rate-address': 'too many handshakes of this address', 'rate-total': 'too many handshakes' } as const

export class AdmissionControl {
  private readonly binding: Pick<QuicheBinding, 'retry'>
  private readonly maxLinks: number
  private readonly retryKey = randomBytes(32)
  private readonly resetKey: Uint8Array
  private readonly gate: HandshakeGate
  private readonly resets = new TokenBucket(RESETS_PER_SECOND)
  private readonly refusals = new TokenBucket(REFUSALS_PER_SECOND)

  /**
   * @param secret what reset tokens derive from: the same after a restart, so that viewers of a killed gateway learn of it at once
   * @param gate asked about every Initial for which there would be room
   */
  constructor (binding: Pick<QuicheBinding, 'retry'>, maxLinks: number, secret: string, gate: HandshakeGate) {
    this.gate = gate
    this.binding = binding
    this.maxLinks = maxLinks
    this.resetKey = createHash('sha256').update('icn-relay stateless reset ').update(secret).digest()
  }

  newConnectionId (): Buffer { return randomBytes(CONNECTION_ID_LENGTH) }

  resetTokenFor (connectionId: Uint8Array): bigint { return resetTokenInteger(this.resetKey, connectionId) }

  /** `now` in milliseconds, for tokens and for the rate of resets. */
  decide (packet: Buffer, from: HostPort, load: Load, now: number): Admission {
    const header = parseHeader(packet)
    switch (header?.kind) {
      case 'initial':
        // RFC 9000 §14.1 and §7.2.
        if (packet.length < MIN_INITIAL_DATAGRAM || header.dcid.length < MIN_INITIAL_DCID) return DROP
        return this.initial(header, from, load, now)
      case 'unknown-version':
        // RFC 9000 §5.2.2: only large datagrams are answered, so nothing is amplified.
        if (packet.length < MIN_INITIAL_DATAGRAM) return DROP
        return { kind: 'reply', packet: versionNegotiation(header.dcid, header.scid, randomInt(256)) }
      case 'short':
        return this.reset(packet.length, header.dcid, now)
      case 'long':
      case undefined:
        return DROP
    }
  }

  private initial (header: Initial, from: HostPort, load: Load, now: number): Admission {
    const { dcid, token } = header
    if (load.halfOpen >= MAX_HALF_OPEN || load.links >= this.maxLinks) return this.refuse(header, 'limit', 'too many connections', now)
    const odcid = token.length > 0 ? checkToken(this.retryKey, { ip: from.host, port: from.port, retryId: dcid }, token, now) : undefined
    const proof: AddressProof = odcid !== undefined ? 'given' : load.halfOpen < RETRY_THRESHOLD ? 'optional' : 'required'
    const verdict = this.gate(from.host, proof, now)
    if (verdict === 'admit') {
      // RFC 9000 §8.1.2: the id of our Retry becomes the connection's.
      return { kind: 'accept', scid: odcid === undefined ? this.newConnectionId() : Buffer.from(dcid), odcid: odcid ?? null, dcid: Buffer.from(dcid) }
    }
    if (verdict === 'prove') return this.askForProof(header, from, now)
    return this.refuse(header, verdict, REASONS[verdict], now)
  }

  private askForProof (header: Initial, from: HostPort, now: number): Admission {
    const { dcid, scid, token, version } = header
    // Not ours, or expired: one Retry a connection is all a client takes (RFC 9000 §17.2.5.2), so the attempt is over (§8.1.3).
    if (token.length > 0) return this.refuse(header, 'protocol', 'address token not valid', now, QUIC_ERROR.INVALID_TOKEN)
    const retryId = this.newConnectionId()
    const out = Buffer.alloc(RETRY_BUFFER)
    try {
      const length = this.binding.retry(scid, dcid, retryId, issueToken(this.retryKey, { ip: from.host, port: from.port, retryId }, dcid, now), version, out)
      return { kind: 'reply', packet: out.subarray(0, length) }
    } catch {
      return DROP
    }
  }

  private refuse (header: Initial, failure: HandshakeFailure, detail: string, now: number, code: number = QUIC_ERROR.CONNECTION_REFUSED): Admission {
    const packet = this.refusals.take(now) ? closeInitial(header, this.newConnectionId(), code, detail) : undefined
    return { kind: 'refuse', failure, detail, packet }
  }

  /** RFC 9000 §10.3. */
  private reset (answered: number, connectionId: Uint8Array, now: number): Admission {
    if (!this.resets.allows(now)) return DROP
    const packet = statelessReset(resetToken(this.resetKey, connectionId), answered, randomBytes(32))
    if (packet === undefined) return DROP
    this.resets.spend(now)
    return { kind: 'reply', packet }
  }
}
