/** HTTP/3 frames (RFC 9114 §7), read incrementally and written whole. Sans-IO. */
import { H3, H3Error } from './h3-errors.ts'
import { encodeVarints, readVarint, varintLength, writeVarint } from './varint.ts'

/** RFC 9114 §7.2. */
export const FRAME = {
  DATA: 0x00,
  HEADERS: 0x01,
  CANCEL_PUSH: 0x03,
  SETTINGS: 0x04,
  PUSH_PROMISE: 0x05,
  GOAWAY: 0x07,
  MAX_PUSH_ID: 0x0d,
  /** Not a frame: opens a WebTransport stream and is legal only as the first bytes of one (draft-ietf-webtrans-http3 §4.3). */
  WT_STREAM: 0x41
} as const

/** Frame types that belonged to HTTP/2 and must never appear (RFC 9114 §7.2.8). */
const HTTP2_FRAMES: ReadonlySet<number> = new Set([0x02, 0x06, 0x08, 0x09])

/** What to do with a frame's payload: collect it, pass it on as it comes, or drop it. */
export type FrameMode = 'collect' | 'stream' | 'skip'

/** Decides by type and length; throws H3Error for frames that must not appear or are too large. */
export type FramePolicy = (type: number, length: number) => FrameMode

export type FrameEvent =
  | { readonly kind: 'frame', readonly type: number, readonly payload: Uint8Array }
  | { readonly kind: 'data', readonly bytes: Uint8Array }

/** Collected frames are SETTINGS, GOAWAY and HEADERS; 16 KiB is MAX_FIELD_SECTION_SIZE, which the packed form cannot need to exceed. */
export const MAX_FRAME_SIZE = 16_384

/** @throws H3Error FRAME_UNEXPECTED for the types RFC 9114 §7.2.8 reserves */
export function rejectHttp2Frame (type: number): void {
  if (HTTP2_FRAMES.has(type)) throw new H3Error(H3.FRAME_UNEXPECTED, `HTTP/2 frame type ${type}`)
}

/** @throws H3Error EXCESSIVE_LOAD when a frame is too long to collect */
export function collectBounded (length: number): FrameMode {
  if (length > MAX_FRAME_SIZE) throw new H3Error(H3.EXCESSIVE_LOAD, `frame of ${length} bytes`)
  return 'collect'
}

const EMPTY = new Uint8Array(0)

/** Splits the bytes of one stream into frames, however they are chunked. Memory: one header and one collected payload. */
export class FrameParser {
  private readonly policy: FramePolicy
  private readonly header = new Uint8Array(16)
  private headerLength = 0
  private mode: FrameMode | undefined
  private type = 0
  private left = 0
  private collected = EMPTY
  private filled = 0

  constructor (policy: FramePolicy) {
    this.policy = policy
  }

  /** The frames and DATA pieces completed by `bytes`; pieces alias `bytes`. @throws H3Error */
  push (bytes: Uint8Array): FrameEvent[] {
    const events: FrameEvent[] = []
    let at = 0
    for (;;) {
      if (this.mode === undefined) {
        at = this.readHeader(bytes, at)
        if (this.mode === undefined) return events
      }
      const take = Math.min(this.left, bytes.length - at)
      const piece = bytes.subarray(at, at + take)
      at += take
      this.left -= take
      if (this.mode === 'stream' && take > 0) events.push({ kind: 'data', bytes: piece })
      if (this.mode === 'collect') {
        this.collected.set(piece, this.filled)
        this.filled += take
      }
      if (this.left > 0) return events
      if (this.mode === 'collect') events.push({ kind: 'frame', type: this.type, payload: this.collected })
      this.mode = undefined
      this.headerLength = 0
      this.collected = EMPTY
    }
  }

  /** The stream ended. @throws H3Error FRAME_ERROR inside a frame (RFC 9114 §7.1) */
  end (): void {
    if (this.mode !== undefined || this.headerLength > 0) throw new H3Error(H3.FRAME_ERROR, 'stream ends inside a frame')
  }

  /** Takes header octets one by one: two varints, and the payload begins right after. */
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
      this.mode = this.policy(type.value, length.value)
      if (this.mode === 'collect') this.collected = new Uint8Array(length.value)
      return at
    }
    return at
  }
}

/** A whole frame. */
export function encodeFrame (type: number, payload: Uint8Array): Uint8Array {
  const head = varintLength(type) + varintLength(payload.length)
  const out = new Uint8Array(head + payload.length)
  writeVarint(out, writeVarint(out, 0, type), payload.length)
  out.set(payload, head)
  return out
}

/** The single varint that is the payload of GOAWAY, MAX_PUSH_ID and CANCEL_PUSH. @throws H3Error FRAME_ERROR (RFC 9114 §7.1) */
export function readIdPayload (payload: Uint8Array): number {
  const id = readVarint(payload, 0)
  if (id?.next !== payload.length) throw new H3Error(H3.FRAME_ERROR, 'payload is not one integer')
  return id.value
}

/** GOAWAY (RFC 9114 §7.2.6). */
export function encodeGoaway (id: number): Uint8Array {
  return encodeFrame(FRAME.GOAWAY, encodeVarints(id))
}
