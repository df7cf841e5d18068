/** What a server does with a datagram that belongs to no connection: begin one, answer without state, or nothing. No socket, no clock. */
import { createHash, randomBytes, randomInt } from 'node:crypto'
import { checkToken, issueToken, resetToken, resetTokenInteger, statelessReset } from './address-token.ts'
import { CONNECTION_ID_LENGTH, MIN_INITIAL_DATAGRAM, MIN_INITIAL_DCID, parseHeader, versionNegotiation } from './packet-header.ts'
import type { PacketHeader } from './packet-header.ts'
import type { HostPort, QuicheBinding } from './quiche-binding.ts'

/** Handshakes in progress from which every address must be proven by a Retry: more than a city's viewers begin at once in a second. */
export const RETRY_THRESHOLD = 128
/** Handshakes in progress at most. One costs 33 KB until it completes or times out. */
export const MAX_HALF_OPEN = 512
/** Stateless resets a second: enough to tell a whole relay's viewers of a restart within seconds, too few to be worth provoking. */
const RESETS_PER_SECOND = 500
/** A Retry packet is the long header, three ids, the token and a tag. */
const RETRY_BUFFER = 256

export type Admission =
  | { readonly kind: 'drop' }
  /** Too many handshakes or connections. */
  | { readonly kind: 'full' }
  | { readonly kind: 'reply', readonly packet: Buffer }
  /** `odcid` only after a Retry. */
  | { readonly kind: 'accept', readonly scid: Buffer, readonly odcid: Buffer | null, readonly dcid: Buffer }

export interface Load {
  readonly links: number
  readonly halfOpen: number
}

const DROP: Admission = { kind: 'drop' }

export class AdmissionControl {
  private readonly binding: Pick<QuicheBinding, 'retry'>
  private readonly maxLinks: number
  private readonly retryKey = randomBytes(32)
  private readonly resetKey: Uint8Array
  private resetsLeft = RESETS_PER_SECOND
  private resetsSince = -Infinity

  /** @param secret what reset tokens derive from: the same after a restart, so that viewers of a killed gateway learn of it at once */
  constructor (binding: Pick<QuicheBinding, 'retry'>, maxLinks: number, secret: string) {
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

  private initial (header: Extract<PacketHeader, { kind: 'initial' }>, from: HostPort, load: Load, now: number): Admission {
    if (load.halfOpen >= MAX_HALF_OPEN || load.links >= this.maxLinks) return { kind: 'full' }
    const { dcid, scid, token, version } = header
    const subject = { ip: from.host, port: from.port, retryId: dcid }
    const odcid = token.length > 0 ? checkToken(this.retryKey, subject, token, now) : undefined
    // RFC 9000 §8.1.2: the id of our Retry becomes the connection's.
    if (odcid !== undefined) return { kind: 'accept', scid: Buffer.from(dcid), odcid, dcid: Buffer.from(dcid) }
    if (load.halfOpen < RETRY_THRESHOLD) return { kind: 'accept', scid: this.newConnectionId(), odcid: null, dcid: Buffer.from(dcid) }
    // A token that is not ours or has expired: one Retry a connection is all a client takes (§17.2.5.2).
    if (token.length > 0) return DROP
    const retryId = this.newConnectionId()
    const out = Buffer.alloc(RETRY_BUFFER)
    try {
      const length = this.binding.retry(scid, dcid, retryId, issueToken(this.retryKey, { ...subject, retryId }, dcid, now), version, out)
      return { kind: 'reply', packet: out.subarray(0, length) }
    } catch {
      return DROP
    }
  }

  /** RFC 9000 §10.3. */
  private reset (answered: number, connectionId: Uint8Array, now: number): Admission {
    if (now - this.resetsSince >= 1000) {
      this.resetsSince = now
      this.resetsLeft = RESETS_PER_SECOND
    }
    if (this.resetsLeft <= 0) return DROP
    const packet = statelessReset(resetToken(this.resetKey, connectionId), answered, randomBytes(32))
    if (packet === undefined) return DROP
    this.resetsLeft--
    return { kind: 'reply', packet }
  }
}
