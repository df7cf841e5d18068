import { createHmac, timingSafeEqual } from 'node:crypto'

/*
 * A ticket lets its holder open one session. It stands in for the peer address, which the engine does not tell: whoever issues it has
 * seen the viewer over TCP. Base64url of version (1 byte), expiry (6 bytes, ms since the epoch, big-endian), nonce (16 bytes), address
 * (its text) and HMAC-SHA-256 over all before it (32 bytes, RFC 2104).
 */

/** How long a ticket may be used, ms: a client that connects at all does so within seconds. */
export const TICKET_LIFE_MS = 60_000
const VERSION = 1
const EXPIRY_AT = 1
const NONCE_AT = EXPIRY_AT + 6
export const NONCE_BYTES = 16
const ADDRESS_AT = NONCE_AT + NONCE_BYTES
const MAC_BYTES = 32
/** An IPv6 address with a zone has 39 characters and its zone. */
const MAX_ADDRESS_BYTES = 64
const FORM = /^[A-Za-z0-9_-]+$/

export interface Ticket {
  /** Address of the viewer as the limits see it. */
  readonly address: string
  /** Wall clock, ms since the epoch. */
  readonly expiresAt: number
  readonly nonce: Uint8Array
}

function mac (key: Uint8Array, payload: Uint8Array): Buffer {
  return createHmac('sha256', key).update(payload).digest()
}

/** The ticket as it stands in a URL. */
export function encodeTicket ({ address, expiresAt, nonce }: Ticket, key: Uint8Array): string {
  const head = Buffer.alloc(ADDRESS_AT)
  head[0] = VERSION
  head.writeUIntBE(expiresAt, EXPIRY_AT, 6)
  head.set(nonce.subarray(0, NONCE_BYTES), NONCE_AT)
  const payload = Buffer.concat([head, Buffer.from(address).subarray(0, MAX_ADDRESS_BYTES)])
  return Buffer.concat([payload, mac(key, payload)]).toString('base64url')
}

/** What a ticket says; `malformed` when it is none, `forged` when it was not made with this key. Never throws. */
export function decodeTicket (text: string, key: Uint8Array): Ticket | 'malformed' | 'forged' {
  if (text.length > Math.ceil((ADDRESS_AT + MAX_ADDRESS_BYTES + MAC_BYTES) * 4 / 3) || !FORM.test(text)) return 'malformed'
  const bytes = Buffer.from(text, 'base64url')
  // Several texts decode to the same bytes when the last character has bits to spare.
  if (bytes.length <= ADDRESS_AT + MAC_BYTES || bytes[0] !== VERSION || bytes.toString('base64url') !== text) return 'malformed'
  const payload = bytes.subarray(0, -MAC_BYTES)
  if (!timingSafeEqual(mac(key, payload), bytes.subarray(-MAC_BYTES))) return 'forged'
  return { address: payload.toString('utf8', ADDRESS_AT), expiresAt: payload.readUIntBE(EXPIRY_AT, 6), nonce: payload.subarray(NONCE_AT, ADDRESS_AT) }
}
