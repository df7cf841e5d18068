/** Varints, Huffman, QPACK, settings, frames and capsules: round trips, every truncation, and random bytes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { CAPSULE, CapsuleParser, encodeCloseCapsule, encodeDrainCapsule } from '../../src/gateway/transports/http3/capsules.ts'
import { H3, H3Error, applicationToH3, h3ToApplication } from '../../src/gateway/transports/http3/h3-errors.ts'
import { FRAME, FrameParser, collectBounded, encodeFrame } from '../../src/gateway/transports/http3/h3-frames.ts'
import type { FrameEvent } from '../../src/gateway/transports/http3/h3-frames.ts'
import { OUR_SETTINGS, encodeSettings, offersWebTransport, parseSettings } from '../../src/gateway/transports/http3/h3-settings.ts'
import { huffmanDecode, huffmanEncode } from '../../src/gateway/transports/http3/huffman.ts'
import { DecoderStreamCheck, checkEncoderStream, decodeFieldSection, encodeFieldSection } from '../../src/gateway/transports/http3/qpack.ts'
import { STATIC_TABLE } from '../../src/gateway/transports/http3/static-table.ts'
import { MAX_VARINT, encodeVarints, readVarint, varintLength, writeVarint } from '../../src/gateway/transports/http3/varint.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
const bytes = fc.uint8Array({ maxLength: 300 })
const latin1 = fc.uint8Array({ maxLength: 60 }).map((value) => Buffer.from(value).toString('latin1'))

/** Cuts `whole` at the given places. */
function chunked (whole: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const places = [0, ...cuts.map((cut) => cut % (whole.length + 1)), whole.length].sort((a, b) => a - b)
  return places.slice(1).map((end, index) => whole.subarray(places[index], end))
}

function assertOnlyH3Error (run: () => unknown): void {
  try {
    run()
  } catch (error) {
    assert.ok(error instanceof H3Error, String(error))
  }
}

test('varints of RFC 9000 A.1 read and write', () => {
  for (const [text, value] of [['9d7f3e7d', 494878333], ['7bbd', 15293], ['25', 37]] as const) {
    assert.deepEqual(readVarint(hex(text), 0), { value, next: text.length / 2 })
    assert.deepEqual(Buffer.from(encodeVarints(value)), hex(text))
  }
  // Longer than needed is legal, and 2^62 - 1 reads as the nearest number.
  assert.equal(readVarint(hex('4025'), 0)?.value, 37)
  assert.equal(readVarint(hex('ffffffffffffffff'), 0)?.value, 2 ** 62)
})

test('varints round-trip; every truncation is incomplete; what cannot be written is a RangeError', () => {
  fc.assert(fc.property(fc.maxSafeNat(), fc.nat(5), (value, pad) => {
    const out = new Uint8Array(pad + varintLength(value))
    assert.equal(writeVarint(out, pad, value), out.length)
    assert.deepEqual(readVarint(out, pad), { value, next: out.length })
    for (let end = pad; end < out.length; end++) assert.equal(readVarint(out.subarray(0, end), pad), undefined)
  }))
  for (const value of [-1, 0.5, NaN, MAX_VARINT + 1]) assert.throws(() => varintLength(value), RangeError)
  assert.throws(() => writeVarint(new Uint8Array(1), 0, 64), RangeError)
})

test('Huffman strings of RFC 7541 appendix C', () => {
  for (const [packed, text] of [['f1e3c2e5f23a6ba0ab90f4ff', 'www.example.com'], ['a8eb10649cbf', 'no-cache'], ['25a849e95ba97d7f', 'custom-key'], ['6402', '302']] as const) {
    assert.deepEqual(Buffer.from(huffmanEncode(Buffer.from(text))), hex(packed))
    assert.equal(Buffer.from(huffmanDecode(hex(packed), 100) ?? []).toString(), text)
  }
})

test('Huffman round-trips all octets; broken padding, EOS and too long results are refused; random bytes never throw', () => {
  fc.assert(fc.property(bytes, (plain) => { assert.deepEqual(huffmanDecode(huffmanEncode(plain), plain.length), plain) }))
  fc.assert(fc.property(bytes, (noise) => { huffmanDecode(noise, 1000) }))
  assert.equal(huffmanDecode(hex('ff'), 10), undefined)
  assert.equal(huffmanDecode(hex('00 00'), 10), undefined)
  assert.equal(huffmanDecode(hex('ffffffff'), 10), undefined)
  assert.equal(huffmanDecode(huffmanEncode(Buffer.from('abcdef')), 5), undefined)
})

test('QPACK: the static table has the 99 entries of RFC 9204 appendix A at their places', () => {
  assert.equal(STATIC_TABLE.length, 99)
  for (const [index, name, value] of [[0, ':authority', ''], [17, ':method', 'GET'], [25, ':status', '200'], [63, ':status', '100'], [98, 'x-frame-options', 'sameorigin']] as const) {
    assert.deepEqual(STATIC_TABLE[index], [name, value])
  }
})

test('QPACK: RFC 9204 B.1 decodes, dynamic references are refused', () => {
  assert.deepEqual(decodeFieldSection(hex('0000 510b 2f69 6e64 6578 2e68 746d 6c')), [[':path', '/index.html']])
  for (const section of ['0381 10 11', '0000 80', '0000 40 00', '0000 10', '0000 00 00', '0080']) {
    assert.throws(() => decodeFieldSection(hex(section)), (error: unknown) => error instanceof H3Error && error.code === H3.QPACK_DECOMPRESSION_FAILED, section)
  }
})

test('QPACK round-trips any fields; every truncation and any noise is a typed error', () => {
  const fields = fc.array(fc.oneof(fc.tuple(latin1, latin1), fc.constantFrom(...STATIC_TABLE), fc.tuple(fc.constantFrom(...STATIC_TABLE.map(([name]) => name)), latin1)), { maxLength: 40 })
  fc.assert(fc.property(fields, (list) => {
    const section = encodeFieldSection(list)
    assert.deepEqual(decodeFieldSection(section), list)
    for (let end = 0; end < section.length; end++) assertOnlyH3Error(() => decodeFieldSection(section.subarray(0, end)))
  }), { numRuns: 50 })
  fc.assert(fc.property(bytes, (noise) => { assertOnlyH3Error(() => decodeFieldSection(Buffer.concat([hex('0000'), noise]))) }), { numRuns: 2000 })
})

test('QPACK: too many or too large fields are excessive load, integers do not run away', () => {
  const load = (error: unknown): boolean => error instanceof H3Error && error.code === H3.EXCESSIVE_LOAD
  assert.throws(() => decodeFieldSection(Buffer.concat([hex('0000'), Buffer.alloc(101, 0xd1)])), load)
  assert.throws(() => decodeFieldSection(encodeFieldSection([['a', 'x'.repeat(16_384)]])), load)
  assert.throws(() => decodeFieldSection(Buffer.concat([hex('0000 ff'), Buffer.alloc(50, 0x80)])), H3Error)
})

test('QPACK streams: a table of capacity 0 has nothing to insert or acknowledge', () => {
  checkEncoderStream(hex('2020'))
  assert.throws(() => { checkEncoderStream(hex('c000')) }, H3Error)
  const check = new DecoderStreamCheck()
  check.push(hex('44 7f'))
  check.push(hex('81 01 44'))
  assert.throws(() => { check.push(hex('80')) }, H3Error)
  assert.throws(() => { new DecoderStreamCheck().push(hex('01')) }, H3Error)
})

test('SETTINGS round-trip, and what RFC 9114 forbids is refused', () => {
  const parse = (payload: Uint8Array): unknown => parseSettings(payload)
  const frame = encodeSettings(OUR_SETTINGS)
  assert.deepEqual(parseSettings(frame.subarray(2)), OUR_SETTINGS)
  assert.ok(offersWebTransport(OUR_SETTINGS))
  assert.equal(offersWebTransport(new Map([[0x2b603742, 1]])), false)
  for (const [payload, code] of [[encodeVarints(6, 1, 6, 1), H3.SETTINGS_ERROR], [encodeVarints(2, 0), H3.SETTINGS_ERROR], [encodeVarints(0x33, 2), H3.SETTINGS_ERROR], [encodeVarints(6), H3.FRAME_ERROR]] as const) {
    assert.throws(() => parse(payload), (error: unknown) => error instanceof H3Error && error.code === code)
  }
  fc.assert(fc.property(bytes, (noise) => { assertOnlyH3Error(() => parse(noise)) }))
})

const policy = (type: number, length: number): 'collect' | 'stream' | 'skip' => type === FRAME.HEADERS ? collectBounded(length) : type === FRAME.DATA ? 'stream' : 'skip'

/** Events with neighbouring pieces of DATA joined: how they were cut must not matter. */
function joined (events: readonly FrameEvent[]): string[] {
  const out: string[] = []
  let data: Uint8Array[] = []
  const flush = (): void => {
    if (data.length > 0) out.push(`data ${Buffer.concat(data).toString('hex')}`)
    data = []
  }
  for (const event of events) {
    if (event.kind === 'data') {
      data.push(event.bytes)
    } else {
      flush()
      out.push(`frame ${event.type} ${Buffer.from(event.payload).toString('hex')}`)
    }
  }
  flush()
  return out
}

test('frames: any chunking gives the same events; a truncated stream ends inside a frame', () => {
  const frame = fc.record({ type: fc.constantFrom(FRAME.DATA, FRAME.HEADERS, 0x21, 0x1f * 1000 + 0x21), payload: fc.uint8Array({ maxLength: 80 }) })
  fc.assert(fc.property(fc.array(frame, { maxLength: 8 }), fc.array(fc.nat(), { maxLength: 12 }), (list, cuts) => {
    const whole = Buffer.concat(list.map(({ type, payload }) => encodeFrame(type, payload)))
    const once = new FrameParser(policy)
    const expected = joined(once.push(whole))
    once.end()
    const parser = new FrameParser(policy)
    assert.deepEqual(joined(chunked(whole, cuts).flatMap((chunk) => parser.push(chunk))), expected)
    parser.end()
    const boundaries = new Set([0])
    let at = 0
    for (const { type, payload } of list) boundaries.add(at += encodeFrame(type, payload).length)
    for (let end = 0; end <= whole.length; end++) {
      const cut = new FrameParser(policy)
      cut.push(whole.subarray(0, end))
      if (boundaries.has(end)) cut.end()
      else assert.throws(() => { cut.end() }, (error: unknown) => error instanceof H3Error && error.code === H3.FRAME_ERROR)
    }
  }), { numRuns: 50 })
})

test('frames: a collected frame over the cap is refused before its payload comes', () => {
  assert.throws(() => new FrameParser(policy).push(encodeVarints(FRAME.HEADERS, 16_385)), (error: unknown) => error instanceof H3Error && error.code === H3.EXCESSIVE_LOAD)
})

test('capsules: any chunking, unknown ones skipped, nothing after the close, at most 1024 bytes of reason', () => {
  fc.assert(fc.property(fc.nat(0xffffffff), fc.string({ maxLength: 600 }), fc.uint8Array({ maxLength: 40 }), fc.array(fc.nat(), { maxLength: 6 }), (code, reason, unknown, cuts) => {
    const whole = Buffer.concat([encodeVarints(0x1234, unknown.length), unknown, encodeDrainCapsule(), encodeCloseCapsule(code, reason)])
    const parser = new CapsuleParser()
    const events = chunked(whole, cuts).flatMap((chunk) => parser.push(chunk))
    parser.end()
    assert.equal(events.length, 2)
    const [drain, close] = events
    assert.equal(drain?.kind, 'drain')
    assert.ok(close?.kind === 'close' && close.code === code)
    // Half a surrogate pair has no UTF-8 form; what fits is otherwise unchanged.
    const sent = Buffer.from(reason).length <= 1024 ? Buffer.from(reason).toString() : undefined
    if (sent !== undefined) assert.equal(close.reason, sent)
    assert.throws(() => parser.push(Uint8Array.of(0)), H3Error)
  }))
  const long = new CapsuleParser().push(encodeCloseCapsule(1, 'é'.repeat(1000)))
  assert.ok(long[0]?.kind === 'close' && Buffer.from(long[0].reason).length === 1024)
  for (const payload of [encodeVarints(CAPSULE.CLOSE_WEBTRANSPORT_SESSION, 3), encodeVarints(CAPSULE.CLOSE_WEBTRANSPORT_SESSION, 1029), Buffer.concat([encodeVarints(CAPSULE.CLOSE_WEBTRANSPORT_SESSION, 5), hex('00000000ff')])]) {
    assert.throws(() => new CapsuleParser().push(payload), (error: unknown) => error instanceof H3Error && error.scope === 'stream')
  }
})

test('application codes map onto HTTP/3 codes and back, past every reserved one', () => {
  assert.equal(applicationToH3(0), 0x52e4a40fa8db)
  assert.equal(applicationToH3(0xffffffff), 0x52e5ac983162)
  assert.equal(h3ToApplication(H3.WT_SESSION_GONE), undefined)
  fc.assert(fc.property(fc.nat(0xffffffff), (code) => {
    const mapped = applicationToH3(code)
    assert.notEqual((mapped - 0x21) % 0x1f, 0)
    assert.equal(h3ToApplication(mapped), code)
  }))
})
