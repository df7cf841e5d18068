/** SETTINGS of HTTP/3 (RFC 9114 §7.2.4) and the ones WebTransport adds. Sans-IO. */
import { H3, H3Error } from './h3-errors.ts'
import { FRAME, encodeFrame } from './h3-frames.ts'
import { MAX_FIELD_SECTION_SIZE } from './qpack.ts'
import { encodeVarints, readVarint } from './varint.ts'

export const SETTING = {
  /** RFC 9204 §5 */
  QPACK_MAX_TABLE_CAPACITY: 0x01,
  /** RFC 9114 §7.2.4.1 */
  MAX_FIELD_SECTION_SIZE: 0x06,
  /** RFC 9204 §5 */
  QPACK_BLOCKED_STREAMS: 0x07,
  /** RFC 9220 §3 */
  ENABLE_CONNECT_PROTOCOL: 0x08,
  /** RFC 9297 §2.1.1 */
  H3_DATAGRAM: 0x33,
  /** draft-ietf-webtrans-http3-02 §3.1: what Chromium 156 looks for */
  ENABLE_WEBTRANSPORT_DRAFT02: 0x2b603742,
  /** draft-ietf-webtrans-http3-07 §9.2 */
  WT_MAX_SESSIONS_DRAFT07: 0xc671706a,
  /** draft-ietf-webtrans-http3-13 §9.2 */
  WT_MAX_SESSIONS_DRAFT13: 0x14e9cd29
} as const

/** Settings that belonged to HTTP/2: receiving one is an error (RFC 9114 §7.2.4.1). */
const HTTP2_SETTINGS: ReadonlySet<number> = new Set([0x02, 0x03, 0x04, 0x05])
/** A frame of 16 KiB could hold 8,000; nobody defines more than about ten. */
const MAX_SETTINGS = 64

export type Settings = ReadonlyMap<number, number>

/** What both our roles send. One session a connection: newer drafts want per-session flow control from two on (draft-13 §5.1). */
export const OUR_SETTINGS: Settings = new Map([
  [SETTING.QPACK_MAX_TABLE_CAPACITY, 0],
  [SETTING.MAX_FIELD_SECTION_SIZE, MAX_FIELD_SECTION_SIZE],
  [SETTING.QPACK_BLOCKED_STREAMS, 0],
  [SETTING.ENABLE_CONNECT_PROTOCOL, 1],
  [SETTING.H3_DATAGRAM, 1],
  [SETTING.ENABLE_WEBTRANSPORT_DRAFT02, 1],
  [SETTING.WT_MAX_SESSIONS_DRAFT07, 1],
  [SETTING.WT_MAX_SESSIONS_DRAFT13, 1]
])

/** A SETTINGS frame. */
export function encodeSettings (settings: Settings): Uint8Array {
  return encodeFrame(FRAME.SETTINGS, encodeVarints(...[...settings].flat()))
}

/** Reads the payload of a SETTINGS frame; unknown identifiers stay in the map. @throws H3Error SETTINGS_ERROR or FRAME_ERROR */
export function parseSettings (payload: Uint8Array): Settings {
  const settings = new Map<number, number>()
  for (let at = 0; at < payload.length;) {
    const id = readVarint(payload, at)
    const value = id === undefined ? undefined : readVarint(payload, id.next)
    if (id === undefined || value === undefined) throw new H3Error(H3.FRAME_ERROR, 'SETTINGS end inside a pair')
    if (settings.has(id.value) || HTTP2_SETTINGS.has(id.value)) throw new H3Error(H3.SETTINGS_ERROR, `setting ${id.value} again or reserved`)
    if (settings.size >= MAX_SETTINGS) throw new H3Error(H3.EXCESSIVE_LOAD, 'too many settings')
    settings.set(id.value, value.value)
    at = value.next
  }
  for (const boolean of [SETTING.ENABLE_CONNECT_PROTOCOL, SETTING.H3_DATAGRAM]) {
    // RFC 9220 §3 and RFC 9297 §2.1.1: anything but 0 and 1 is an error.
    if ((settings.get(boolean) ?? 0) > 1) throw new H3Error(H3.SETTINGS_ERROR, `setting ${boolean} is not a boolean`)
  }
  return settings
}

/** Whether a server with these settings takes WebTransport sessions, by any draft. */
export function offersWebTransport (settings: Settings): boolean {
  return settings.get(SETTING.ENABLE_CONNECT_PROTOCOL) === 1 && [
    SETTING.ENABLE_WEBTRANSPORT_DRAFT02, SETTING.WT_MAX_SESSIONS_DRAFT07, SETTING.WT_MAX_SESSIONS_DRAFT13
  ].some((id) => (settings.get(id) ?? 0) > 0)
}
