/**
 * QPACK (RFC 9204) with a dynamic table of capacity 0: static references and literals only. Sans-IO; a field section that refers to
 * the dynamic table cannot come from a peer that honours our SETTINGS and is a connection error.
 */
import { H3, H3Error } from './h3-errors.ts'
import { huffmanDecode, huffmanEncode, huffmanLength } from './huffman.ts'
import { STATIC_TABLE } from './static-table.ts'

/** Sum of names, values and 32 bytes a field (RFC 9114 §4.2.2): twice the 8 KiB request heads of the viewer contract. */
export const MAX_FIELD_SECTION_SIZE = 16_384
/** Browsers send about 15 fields with a CONNECT; 100 leaves room for proxies. */
export const MAX_FIELDS = 100
/** What a field counts for beside its text, RFC 9114 §4.2.2. */
const FIELD_OVERHEAD = 32

export type Field = readonly [name: string, value: string]

const staticNames = new Map<string, number>()
const staticFields = new Map<string, number>()
for (const [index, [name, value]] of STATIC_TABLE.entries()) {
  if (!staticNames.has(name)) staticNames.set(name, index)
  staticFields.set(`${name}\0${value}`, index)
}

/** Appends an integer with an N-bit prefix under `flags` (RFC 7541 §5.1). */
function pushInteger (out: number[], flags: number, prefix: number, value: number): void {
  const full = 2 ** prefix - 1
  if (value < full) {
    out.push(flags | value)
    return
  }
  out.push(flags | full)
  let rest = value - full
  for (; rest >= 128; rest = Math.floor(rest / 128)) out.push((rest % 128) | 0x80)
  out.push(rest)
}

/** Appends a string literal whose length has a `prefix`-bit prefix and whose H bit is just above it (RFC 9204 §4.1.2). */
function pushString (out: number[], flags: number, prefix: number, text: string): void {
  // Field text is octets; latin1 keeps them one to one (RFC 9110 §5.5).
  const plain = Buffer.from(text, 'latin1')
  const packed = huffmanLength(plain) < plain.length
  const bytes = packed ? huffmanEncode(plain) : plain
  pushInteger(out, flags | (packed ? 1 << prefix : 0), prefix, bytes.length)
  for (const byte of bytes) out.push(byte)
}

/** A field section (RFC 9204 §4.5) of static references and literals. */
export function encodeFieldSection (fields: readonly Field[]): Uint8Array {
  // Required Insert Count 0, Base 0 (§4.5.1).
  const out: number[] = [0, 0]
  for (const [name, value] of fields) {
    const exact = staticFields.get(`${name}\0${value}`)
    const named = staticNames.get(name)
    if (exact !== undefined) {
      pushInteger(out, 0xc0, 6, exact) // §4.5.2, T = 1
    } else if (named !== undefined) {
      pushInteger(out, 0x50, 4, named) // §4.5.4, N = 0, T = 1
      pushString(out, 0, 7, value)
    } else {
      pushString(out, 0x20, 3, name) // §4.5.6, N = 0
      pushString(out, 0, 7, value)
    }
  }
  return Uint8Array.from(out)
}

function failed (detail: string): H3Error {
  return new H3Error(H3.QPACK_DECOMPRESSION_FAILED, detail)
}

/** Reads a field section; every failure is an H3Error. */
class FieldReader {
  private at = 0
  private readonly bytes: Uint8Array

  constructor (bytes: Uint8Array) {
    this.bytes = bytes
  }

  get done (): boolean { return this.at >= this.bytes.length }

  peek (): number {
    const byte = this.bytes[this.at]
    if (byte === undefined) throw failed('field section ends early')
    return byte
  }

  /** RFC 7541 §5.1; bounded, since nothing valid here exceeds the section's own size. */
  integer (prefix: number): number {
    const full = 2 ** prefix - 1
    let value = this.peek() & full
    this.at++
    if (value < full) return value
    for (let shift = 1; ; shift *= 128) {
      const byte = this.peek()
      this.at++
      value += (byte & 0x7f) * shift
      if (value > 0x3fffffff) throw failed('integer too large')
      if ((byte & 0x80) === 0) return value
      // Encoders may pad with zero groups; four are more than the bound above needs.
      if (shift > 128 ** 4) throw failed('integer too long')
    }
  }

  string (prefix: number): string {
    const packed = (this.peek() & (1 << prefix)) !== 0
    const length = this.integer(prefix)
    const end = this.at + length
    if (end > this.bytes.length) throw failed('string ends early')
    const raw = this.bytes.subarray(this.at, end)
    this.at = end
    const text = packed ? huffmanDecode(raw, MAX_FIELD_SECTION_SIZE) : raw
    if (text === undefined) throw failed('broken Huffman string')
    return Buffer.from(text.buffer, text.byteOffset, text.byteLength).toString('latin1')
  }
}

function staticField (index: number): Field {
  const field = STATIC_TABLE[index]
  if (field === undefined) throw failed(`no static entry ${index}`)
  return field
}

function readField (reader: FieldReader): Field {
  const first = reader.peek()
  if ((first & 0x80) !== 0) { // §4.5.2 indexed
    if ((first & 0x40) === 0) throw failed('dynamic reference')
    return staticField(reader.integer(6))
  }
  if ((first & 0x40) !== 0) { // §4.5.4 literal with name reference
    if ((first & 0x10) === 0) throw failed('dynamic name reference')
    const [name] = staticField(reader.integer(4))
    return [name, reader.string(7)]
  }
  if ((first & 0x20) !== 0) { // §4.5.6 literal with literal name
    const name = reader.string(3)
    return [name, reader.string(7)]
  }
  throw failed('post-base reference') // §4.5.3 and §4.5.5
}

/**
 * The fields of an encoded section, in order.
 * @throws H3Error QPACK_DECOMPRESSION_FAILED for what cannot be decoded, EXCESSIVE_LOAD beyond MAX_FIELDS or MAX_FIELD_SECTION_SIZE
 */
export function decodeFieldSection (bytes: Uint8Array): Field[] {
  const reader = new FieldReader(bytes)
  if (reader.integer(8) !== 0) throw failed('section needs the dynamic table')
  // With no inserts the base cannot be negative (§4.5.1.2).
  if ((reader.peek() & 0x80) !== 0) throw failed('negative base')
  reader.integer(7)
  const fields: Field[] = []
  let size = 0
  while (!reader.done) {
    const field = readField(reader)
    size += field[0].length + field[1].length + FIELD_OVERHEAD
    if (fields.length >= MAX_FIELDS || size > MAX_FIELD_SECTION_SIZE) throw new H3Error(H3.EXCESSIVE_LOAD, 'field section too large')
    fields.push(field)
  }
  return fields
}

/**
 * Checks the peer's encoder stream: with capacity 0 only "Set Dynamic Table Capacity" to 0 is possible (RFC 9204 §4.3.1).
 * @throws H3Error QPACK_ENCODER_STREAM_ERROR
 */
export function checkEncoderStream (bytes: Uint8Array): void {
  for (const byte of bytes) {
    if (byte !== 0x20) throw new H3Error(H3.QPACK_ENCODER_STREAM_ERROR, 'insert into a table of capacity 0')
  }
}

/** Checks the peer's decoder stream (RFC 9204 §4.4): only Stream Cancellation can refer to sections without dynamic references. */
export class DecoderStreamCheck {
  /** Octets of the current instruction read so far, 0 between instructions. */
  private inside = 0

  /** @throws H3Error QPACK_DECODER_STREAM_ERROR */
  push (bytes: Uint8Array): void {
    for (const byte of bytes) {
      if (this.inside === 0) {
        // §4.4.2 is 01xxxxxx; §4.4.1 (1xxxxxxx) and §4.4.3 (00xxxxxx) acknowledge inserts that never happened.
        if ((byte & 0xc0) !== 0x40) throw new H3Error(H3.QPACK_DECODER_STREAM_ERROR, 'acknowledges what was not sent')
        this.inside = (byte & 0x3f) === 0x3f ? 1 : 0
      } else {
        // A stream id has 62 bits: nine groups of seven.
        if (++this.inside > 10) throw new H3Error(H3.QPACK_DECODER_STREAM_ERROR, 'integer too long')
        if ((byte & 0x80) === 0) this.inside = 0
      }
    }
  }
}
