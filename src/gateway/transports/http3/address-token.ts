/** Proofs this server hands out: address-validation tokens for Retry (RFC 9000 §8.1.2) and stateless reset tokens (§10.3). No IO, no clock. */
import { createHmac, timingSafeEqual } from 'node:crypto'

/** A Retry is answered within a round trip; 10 s leaves room for slow paths and keeps a captured token nearly worthless. */
export const TOKEN_LIFETIME_MS = 10_000
/** 128 bits: forging one is as hard as guessing a connection id. */
const MAC_LENGTH = 16
const EXPIRY_LENGTH = 6

export interface TokenSubject {
  readonly ip: string
  readonly port: number
  /** The source id the Retry gave out: the destination of the packet that brings the token back. */
  readonly retryId: Uint8Array
}

function mac (key: Uint8Array, subject: TokenSubject, body: Uint8Array): Buffer {
  return createHmac('sha256', key).update(`retry ${subject.ip} ${subject.port} `).update(subject.retryId).update(body).digest().subarray(0, MAC_LENGTH)
}

/** A token that brings `odcid` back from this very address until `now` + TOKEN_LIFETIME_MS. */
export function issueToken (key: Uint8Array, subject: TokenSubject, odcid: Uint8Array, now: number): Buffer {
  const body = Buffer.alloc(EXPIRY_LENGTH + odcid.length)
  body.writeUIntBE(Math.floor(now) + TOKEN_LIFETIME_MS, 0, EXPIRY_LENGTH)
  body.set(odcid, EXPIRY_LENGTH)
  return Buffer.concat([mac(key, subject, body), body])
}

/** The original destination id inside a genuine token that has not expired, or undefined. */
export function checkToken (key: Uint8Array, subject: TokenSubject, token: Uint8Array, now: number): Buffer | undefined {
  if (token.length <= MAC_LENGTH + EXPIRY_LENGTH || token.length > MAC_LENGTH + EXPIRY_LENGTH + 20) return undefined
  const body = Buffer.from(token.subarray(MAC_LENGTH))
  if (!timingSafeEqual(token.subarray(0, MAC_LENGTH), mac(key, subject, body))) return undefined
  return body.readUIntBE(0, EXPIRY_LENGTH) >= now ? body.subarray(EXPIRY_LENGTH) : undefined
}

/** The stateless reset token of a connection id: the same after a restart with the same key, so that old connections end at once (§10.3.2). */
export function resetToken (key: Uint8Array, connectionId: Uint8Array): Buffer {
  return createHmac('sha256', key).update('stateless reset').update(connectionId).digest().subarray(0, 16)
}

/** The same as the 128-bit integer the binding wants. */
export function resetTokenInteger (key: Uint8Array, connectionId: Uint8Array): bigint {
  return BigInt(`0x${resetToken(key, connectionId).toString('hex')}`)
}

/** RFC 9000 §10.3: shorter than what it answers, so that two endpoints cannot reset each other for ever; undefined when that leaves no room. */
export function statelessReset (token: Uint8Array, answeredLength: number, random: Uint8Array): Buffer | undefined {
  // 5 bytes of header and padding, and the token, are the least; more than 42 bytes look like any short packet.
  const length = Math.min(answeredLength - 1, 43)
  if (length < 21 || random.length < length - 16) return undefined
  const out = Buffer.alloc(length)
  out.set(random.subarray(0, length - 16))
  out[0] = ((out[0] ?? 0) & 0x3f) | 0x40
  out.set(token, length - 16)
  return out
}
