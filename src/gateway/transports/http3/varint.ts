/**
 * QUIC variable-length integers (RFC 9000 §16) as JavaScript numbers. Values from 2^53 up lose their low bits when read:
 * every identifier this engine knows is far below, and no length that large passes a cap.
 */

/** Largest value this module writes; RFC 9000 §16 allows up to 2^62 - 1, numbers are exact to 2^53 - 1. */
export const MAX_VARINT = Number.MAX_SAFE_INTEGER

/** Bytes the shortest encoding of `value` takes: 1, 2, 4 or 8. @throws RangeError outside 0..MAX_VARINT */
export function varintLength (value: number): number {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`not a varint: ${value}`)
  return value < 0x40 ? 1 : value < 0x4000 ? 2 : value < 0x40000000 ? 4 : 8
}

/** Writes `value` at `offset`; returns the offset after it. @throws RangeError outside 0..MAX_VARINT or when it does not fit */
export function writeVarint (out: Uint8Array, offset: number, value: number): number {
  const length = varintLength(value)
  if (offset + length > out.length) throw new RangeError('varint does not fit')
  let rest = value
  for (let at = offset + length - 1; at >= offset; at--) {
    out[at] = rest % 256
    rest = Math.floor(rest / 256)
  }
  // The two top bits hold log2 of the length.
  out[offset] = (out[offset] ?? 0) | (length === 1 ? 0x00 : length === 2 ? 0x40 : length === 4 ? 0x80 : 0xc0)
  return offset + length
}

/** The varints, one after the other. @throws RangeError outside 0..MAX_VARINT */
export function encodeVarints (...values: readonly number[]): Uint8Array {
  const out = new Uint8Array(values.reduce((sum, value) => sum + varintLength(value), 0))
  let offset = 0
  for (const value of values) offset = writeVarint(out, offset, value)
  return out
}

/** Length in bytes of the varint that starts with `first`. */
export function varintSize (first: number): number {
  return 1 << (first >> 6)
}

export interface Varint {
  readonly value: number
  /** Offset of the byte after it. */
  readonly next: number
}

/** The varint at `offset`, or undefined when `bytes` end before it does. */
export function readVarint (bytes: Uint8Array, offset: number): Varint | undefined {
  const first = bytes[offset]
  if (first === undefined) return undefined
  const next = offset + varintSize(first)
  if (next > bytes.length) return undefined
  let value = first & 0x3f
  for (let at = offset + 1; at < next; at++) value = value * 256 + (bytes[at] ?? 0)
  return { value, next }
}
