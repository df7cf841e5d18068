/** Capsules (RFC 9297 §3.2) on the CONNECT stream of a WebTransport session. Sans-IO. */
import { H3, H3Error } from './h3-errors.ts'
import { encodeVarints, readVarint } from './varint.ts'

export const CAPSULE = {
  /** draft-ietf-webtrans-http3 §6 */
  CLOSE_WEBTRANSPORT_SESSION: 0x2843,
  /** draft-ietf-webtrans-http3 §4.7 */
  DRAIN_WEBTRANSPORT_SESSION: 0x78ae
} as const

/** draft-ietf-webtrans-http3 §6: the message is at most 1024 bytes of UTF-8. */
export const MAX_CLOSE_REASON = 1024
/** A close capsule: 4 bytes of code and the message. */
const MAX_CLOSE_CAPSULE = 4 + MAX_CLOSE_REASON

export type CapsuleEvent =
  | { readonly kind: 'close', readonly code: number, readonly reason: string }
  | { readonly kind: 'drain' }

const EMPTY = new Uint8Array(0)
const utf8 = new TextDecoder('utf-8', { fatal: true })

/** Reads capsules however they are chunked; unknown ones are skipped without being kept (RFC 9297 §3.2). */
export class CapsuleParser {
  private readonly header = new Uint8Array(16)
  private headerLength = 0
  private inside = false
  private type = 0
  private left = 0
  private collected = EMPTY
  private filled = 0
  private closed = false

  /** @throws H3Error MESSAGE_ERROR (stream) for a malformed capsule or bytes after the close capsule */
  push (bytes: Uint8Array): CapsuleEvent[] {
    const events: CapsuleEvent[] = []
    let at = 0
    for (;;) {
      if (this.closed && at < bytes.length) throw malformed('bytes after CLOSE_WEBTRANSPORT_SESSION')
      if (!this.inside) {
        at = this.readHeader(bytes, at)
        if (!this.inside) return events
      }
      const take = Math.min(this.left, bytes.length - at)
      if (this.collected.length > 0) this.collected.set(bytes.subarray(at, at + take), this.filled)
      this.filled += take
      this.left -= take
      at += take
      if (this.left > 0) return events
      const event = this.finish()
      if (event !== undefined) events.push(event)
    }
  }

  /** The CONNECT stream ended. @throws H3Error MESSAGE_ERROR (stream) inside a capsule (RFC 9297 §3.3) */
  end (): void {
    if (this.inside || this.headerLength > 0) throw malformed('stream ends inside a capsule')
  }

  private readHeader (bytes: Uint8Array, start: number): number {
    let at = start
    while (at < bytes.length) {
      this.header[this.headerLength++] = bytes[at++] ?? 0
      const have = this.header.subarray(0, this.headerLength)
      const type = readVarint(have, 0)
      const length = type === undefined ? undefined : readVarint(have, type.next)
      if (type === undefined || length === undefined) continue
      this.type = type.value
      this.left = length.value
      this.filled = 0
      this.inside = true
      this.collected = EMPTY
      if (this.type === CAPSULE.CLOSE_WEBTRANSPORT_SESSION) {
        if (this.left < 4 || this.left > MAX_CLOSE_CAPSULE) throw malformed(`close capsule of ${this.left} bytes`)
        this.collected = new Uint8Array(this.left)
      }
      return at
    }
    return at
  }

  private finish (): CapsuleEvent | undefined {
    this.inside = false
    this.headerLength = 0
    if (this.type === CAPSULE.DRAIN_WEBTRANSPORT_SESSION) return { kind: 'drain' }
    if (this.type !== CAPSULE.CLOSE_WEBTRANSPORT_SESSION) return undefined
    this.closed = true
    const view = new DataView(this.collected.buffer)
    return { kind: 'close', code: view.getUint32(0), reason: decodeReason(this.collected.subarray(4)) }
  }
}

function malformed (detail: string): H3Error {
  return new H3Error(H3.MESSAGE_ERROR, detail, 'stream')
}

function decodeReason (bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes)
  } catch {
    throw malformed('close reason is not UTF-8')
  }
}

/** At most `limit` bytes of UTF-8 of `text`, cut between characters. */
function truncateUtf8 (text: string, limit: number): Uint8Array {
  const out = new Uint8Array(limit)
  return out.subarray(0, new TextEncoder().encodeInto(text, out).written)
}

/** CLOSE_WEBTRANSPORT_SESSION with a 32-bit code; a longer reason is cut to MAX_CLOSE_REASON bytes. */
export function encodeCloseCapsule (code: number, reason: string): Uint8Array {
  const text = truncateUtf8(reason, MAX_CLOSE_REASON)
  const head = encodeVarints(CAPSULE.CLOSE_WEBTRANSPORT_SESSION, 4 + text.length)
  const out = new Uint8Array(head.length + 4 + text.length)
  out.set(head)
  new DataView(out.buffer).setUint32(head.length, code >>> 0)
  out.set(text, head.length + 4)
  return out
}

/** DRAIN_WEBTRANSPORT_SESSION. */
export function encodeDrainCapsule (): Uint8Array {
  return encodeVarints(CAPSULE.DRAIN_WEBTRANSPORT_SESSION, 0)
}
