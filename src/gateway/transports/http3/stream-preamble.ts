/** The first bytes of a stream say what it is (RFC 9114 §6.2, draft-ietf-webtrans-http3 §4.2 and §4.3). Sans-IO. */
import { FRAME } from './h3-frames.ts'
import { encodeVarints, readVarint } from './varint.ts'

export const STREAM_TYPE = {
  /** RFC 9114 §6.2.1 */
  CONTROL: 0x00,
  /** RFC 9114 §6.2.2 */
  PUSH: 0x01,
  /** RFC 9204 §4.2 */
  QPACK_ENCODER: 0x02,
  QPACK_DECODER: 0x03,
  /** draft-ietf-webtrans-http3 §4.2 */
  WT_UNI: 0x54
} as const

export type Preamble =
  | { readonly kind: 'uni', readonly type: number, readonly rest: Uint8Array }
  | { readonly kind: 'request', readonly rest: Uint8Array }
  | { readonly kind: 'webtransport', readonly sessionId: number, readonly rest: Uint8Array }

/** Two varints at most. */
const MAX_PREAMBLE = 16

/** Collects the preamble of one stream that the peer opened. */
export class PreambleReader {
  private readonly bidi: boolean
  private readonly held = new Uint8Array(MAX_PREAMBLE)
  private length = 0

  constructor (bidi: boolean) {
    this.bidi = bidi
  }

  /** The preamble with the bytes after it, or undefined while it is incomplete. */
  push (bytes: Uint8Array): Preamble | undefined {
    for (let at = 0; at < bytes.length; at++) {
      this.held[this.length++] = bytes[at] ?? 0
      const have = this.held.subarray(0, this.length)
      const type = readVarint(have, 0)
      if (type === undefined) continue
      const rest = bytes.subarray(at + 1)
      if (type.value === (this.bidi ? FRAME.WT_STREAM : STREAM_TYPE.WT_UNI)) {
        const session = readVarint(have, type.next)
        if (session === undefined) continue
        return { kind: 'webtransport', sessionId: session.value, rest }
      }
      if (!this.bidi) return { kind: 'uni', type: type.value, rest }
      // A request stream has no preamble: what was taken is the type of its first frame.
      const whole = new Uint8Array(this.length + rest.length)
      whole.set(have)
      whole.set(rest, this.length)
      return { kind: 'request', rest: whole }
    }
    return undefined
  }
}

/** What we write first on a WebTransport stream of session `sessionId`. */
export function webTransportPreamble (bidi: boolean, sessionId: number): Uint8Array {
  return encodeVarints(bidi ? FRAME.WT_STREAM : STREAM_TYPE.WT_UNI, sessionId)
}
