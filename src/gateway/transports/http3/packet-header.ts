/** As much of QUIC packet headers as routing needs: RFC 8999 (invariants) and RFC 9000 §17. Sans-IO, never throws. */
import { readVarint } from './varint.ts'

/**
 * Length of every connection id we issue; a fixed one lets short headers be routed (RFC 9000 §17.3). 64 random bits do not collide, and
 * after a Retry, with a reset token and a client's 20-byte id, quiche 0.18 has room for no more: it encodes its parameters in 128 bytes.
 */
export const CONNECTION_ID_LENGTH = 8
/** RFC 9000 §17.2: version 1 ids have at most 20 bytes. */
const MAX_CONNECTION_ID = 20
/** RFC 9000 §14.1: a server drops smaller datagrams that carry an Initial. */
export const MIN_INITIAL_DATAGRAM = 1200
/** RFC 9000 §7.2: the client's first destination id has at least 8 bytes. */
export const MIN_INITIAL_DCID = 8

export type PacketHeader =
  | { readonly kind: 'short', readonly dcid: Buffer }
  | { readonly kind: 'initial', readonly version: number, readonly dcid: Buffer, readonly scid: Buffer, readonly token: Buffer }
  /** Version 1, any other type. */
  | { readonly kind: 'long', readonly version: number, readonly dcid: Buffer, readonly scid: Buffer }
  /** A version this endpoint does not speak. */
  | { readonly kind: 'unknown-version', readonly version: number, readonly dcid: Buffer, readonly scid: Buffer }

/** QUIC version 1 (RFC 9000 §15). */
export const QUIC_V1 = 1

/** The header of the first packet in a datagram, or undefined when there is none. Slices alias `packet`. */
export function parseHeader (packet: Buffer): PacketHeader | undefined {
  const first = packet[0]
  if (first === undefined) return undefined
  if ((first & 0x80) === 0) {
    // RFC 9000 §17.3.1: the fixed bit is 1.
    if ((first & 0x40) === 0 || packet.length < 1 + CONNECTION_ID_LENGTH) return undefined
    return { kind: 'short', dcid: packet.subarray(1, 1 + CONNECTION_ID_LENGTH) }
  }
  // RFC 8999 §5.1: first byte, version, then two ids with a length byte each.
  if (packet.length < 7) return undefined
  const version = packet.readUInt32BE(1)
  const dcidEnd = 6 + (packet[5] ?? 0)
  const scidLength = packet[dcidEnd]
  if (scidLength === undefined) return undefined
  const scidEnd = dcidEnd + 1 + scidLength
  if (scidEnd > packet.length) return undefined
  const dcid = packet.subarray(6, dcidEnd)
  const scid = packet.subarray(dcidEnd + 1, scidEnd)
  // Version 0 marks Version Negotiation, which only a client receives.
  if (version === 0) return { kind: 'long', version, dcid, scid }
  if (version !== QUIC_V1) return { kind: 'unknown-version', version, dcid, scid }
  if (dcid.length > MAX_CONNECTION_ID || scid.length > MAX_CONNECTION_ID) return undefined
  if ((first & 0x30) !== 0) return { kind: 'long', version, dcid, scid }
  const tokenLength = readVarint(packet, scidEnd)
  if (tokenLength === undefined || tokenLength.next + tokenLength.value > packet.length) return undefined
  return { kind: 'initial', version, dcid, scid, token: packet.subarray(tokenLength.next, tokenLength.next + tokenLength.value) }
}

/** The map key of a connection id. */
export function routeKey (id: Uint8Array): string {
  return Buffer.from(id.buffer, id.byteOffset, id.byteLength).toString('latin1')
}

/** The map key of a short header's destination id, without an object for the header; undefined for other packets. */
export function shortRouteKey (packet: Buffer): string | undefined {
  const short = packet.length > CONNECTION_ID_LENGTH && ((packet[0] ?? 0) & 0x80) === 0
  return short ? packet.toString('latin1', 1, 1 + CONNECTION_ID_LENGTH) : undefined
}

/** A Version Negotiation packet that offers version 1 and one reserved version (RFC 9000 §17.2.1, §6.3). */
export function versionNegotiation (dcid: Uint8Array, scid: Uint8Array, random: number): Buffer {
  const out = Buffer.alloc(7 + dcid.length + scid.length + 8)
  out[0] = 0x80 | (random & 0x7f)
  // The ids swap places: the client's source is the packet's destination.
  let at = 5
  for (const id of [scid, dcid]) {
    out[at++] = id.length
    out.set(id, at)
    at += id.length
  }
  out.writeUInt32BE(QUIC_V1, at)
  out.writeUInt32BE(0x1a2a3a4a, at + 4)
  return out
}
