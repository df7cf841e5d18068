/** Error codes of HTTP/3, QPACK and WebTransport, and the mapping of application codes. */

/** RFC 9114 §8.1, RFC 9297 §5.2, RFC 9204 §6, draft-ietf-webtrans-http3 §9.5. */
export const H3 = {
  DATAGRAM_ERROR: 0x33,
  NO_ERROR: 0x100,
  GENERAL_PROTOCOL_ERROR: 0x101,
  INTERNAL_ERROR: 0x102,
  STREAM_CREATION_ERROR: 0x103,
  CLOSED_CRITICAL_STREAM: 0x104,
  FRAME_UNEXPECTED: 0x105,
  FRAME_ERROR: 0x106,
  EXCESSIVE_LOAD: 0x107,
  ID_ERROR: 0x108,
  SETTINGS_ERROR: 0x109,
  MISSING_SETTINGS: 0x10a,
  REQUEST_REJECTED: 0x10b,
  REQUEST_CANCELLED: 0x10c,
  REQUEST_INCOMPLETE: 0x10d,
  MESSAGE_ERROR: 0x10e,
  QPACK_DECOMPRESSION_FAILED: 0x200,
  QPACK_ENCODER_STREAM_ERROR: 0x201,
  QPACK_DECODER_STREAM_ERROR: 0x202,
  WT_BUFFERED_STREAM_REJECTED: 0x3994bd84,
  WT_SESSION_GONE: 0x170d7b68
} as const

/** Whether an error ends one stream or the whole connection (RFC 9114 §8). */
export type H3ErrorScope = 'stream' | 'connection'

/** The peer broke a rule; caught inside the state machine and turned into a reset or a connection close. */
export class H3Error extends Error {
  override readonly name = 'H3Error'
  readonly code: number
  readonly scope: H3ErrorScope

  constructor (code: number, message: string, scope: H3ErrorScope = 'connection') {
    super(message)
    this.code = code
    this.scope = scope
  }
}

/** First HTTP/3 code of the range that carries WebTransport application codes (draft-ietf-webtrans-http3 §4.4). */
const WT_FIRST = 0x52e4a40fa8db
/** Last one: 2^32 codes, one reserved after every 30 (draft-ietf-webtrans-http3 §4.4). */
const WT_LAST = 0x52e5ac983162

/** A WebTransport application code (32 bit, others are truncated) as an HTTP/3 code; skips the reserved ones (§4.4 of the draft). */
export function applicationToH3 (code: number): number {
  const value = code >>> 0
  return WT_FIRST + value + Math.floor(value / 0x1e)
}

/** The application code inside an HTTP/3 code, or undefined when it carries none. */
export function h3ToApplication (code: number): number | undefined {
  if (code < WT_FIRST || code > WT_LAST || (code - 0x21) % 0x1f === 0) return undefined
  const shifted = code - WT_FIRST
  return shifted - Math.floor(shifted / 0x1f)
}
