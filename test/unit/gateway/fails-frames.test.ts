import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FrameDecoder, FrameError, frameHeader, OPCODE, zeroMaskedHeader } from '../../../src/gateway/transports/fails/websocket-frames.ts'
import { parsePeer, toSessionRequest } from '../../../src/gateway/transports/fails/request.ts'

/** A frame as a browser sends it. */
function frame (opcode: number, payload: Uint8Array, { fin = true, mask = Buffer.of(1, 2, 3, 4) } = {}): Buffer {
  const header = zeroMaskedHeader(opcode, payload.length)
  if (!fin) header.writeUInt8(header.readUInt8(0) & 0x7f, 0)
  mask.copy(header, header.length - 4)
  return Buffer.concat([header, Buffer.from(payload).map((byte, index) => byte ^ (mask[index & 3] ?? 0))])
}

function decode (chunks: Buffer[], limit = 1_000_000): Array<[number, string]> {
  const decoder = new FrameDecoder(limit)
  return chunks.flatMap(chunk => decoder.push(chunk)).map(({ opcode, payload }) => [opcode, payload.toString('hex')])
}

const failsWith = (code: number) => (error: unknown): boolean => error instanceof FrameError && error.code === code

test('messages come out whole however their bytes are cut', () => {
  const message = fc.record({
    payload: fc.uint8Array({ maxLength: 70_000, size: 'max' }),
    fragments: fc.integer({ min: 1, max: 4 }),
    mask: fc.uint8Array({ minLength: 4, maxLength: 4 }),
    ping: fc.boolean()
  })
  fc.assert(fc.property(fc.array(message, { maxLength: 5 }), fc.infiniteStream(fc.integer({ min: 1, max: 9_000 })), (messages, cuts) => {
    const wire: Buffer[] = []
    const expected: Array<[number, string]> = []
    for (const { payload, fragments, mask, ping } of messages) {
      const step = Math.ceil(payload.length / fragments) || 1
      const pieces = Array.from({ length: Math.max(1, Math.ceil(payload.length / step)) }, (_, index) => payload.subarray(index * step, (index + 1) * step))
      pieces.forEach((piece, index) => {
        wire.push(frame(index === 0 ? OPCODE.binary : OPCODE.continuation, piece, { fin: index === pieces.length - 1, mask: Buffer.from(mask) }))
        if (ping && index === 0) {
          wire.push(frame(OPCODE.ping, Buffer.of(7)))
          expected.push([OPCODE.ping, '07'])
        }
      })
      const at = ping && pieces.length === 1 ? expected.length - 1 : expected.length
      expected.splice(at, 0, [OPCODE.binary, Buffer.from(payload).toString('hex')])
    }
    const bytes = Buffer.concat(wire)
    const chunks: Buffer[] = []
    for (let offset = 0; offset < bytes.length;) {
      const size: unknown = cuts.next().value
      assert.ok(typeof size === 'number')
      chunks.push(bytes.subarray(offset, offset + size))
      offset += size
    }
    assert.deepEqual(decode(chunks), expected)
  }), { numRuns: 60 })
})

test('any bytes either decode, wait for more, or fail with a close code; never more is held than the limit and a chunk', () => {
  fc.assert(fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 30 }), chunks => {
    const decoder = new FrameDecoder(1_000)
    for (const chunk of chunks) {
      try {
        decoder.push(Buffer.from(chunk))
      } catch (error) {
        assert.ok(error instanceof FrameError && [1002, 1003, 1009].includes(error.code))
        return
      }
      assert.ok(decoder.pendingBytes <= 1_000 + 14 + 300)
    }
  }))
})

test('what a client must not send is refused', () => {
  assert.throws(() => decode([frameHeader(OPCODE.binary, 3)]), failsWith(1002), 'no mask')
  assert.throws(() => decode([Buffer.of(0xc2, 0x80)]), failsWith(1002), 'reserved bit')
  assert.throws(() => decode([frame(OPCODE.text, Buffer.from('hi'))]), failsWith(1003))
  assert.throws(() => decode([frame(3, Buffer.of())]), failsWith(1002), 'unknown opcode')
  assert.throws(() => decode([frame(OPCODE.continuation, Buffer.of(1))]), failsWith(1002))
  assert.throws(() => decode([frame(OPCODE.binary, Buffer.of(1), { fin: false }), frame(OPCODE.binary, Buffer.of(1))]), failsWith(1002))
  assert.throws(() => decode([frame(OPCODE.ping, Buffer.alloc(126))]), failsWith(1002))
  assert.throws(() => decode([frame(OPCODE.ping, Buffer.of(1), { fin: false })]), failsWith(1002))
})

test('a message longer than the limit is refused at its header, fragments counted together', () => {
  assert.throws(() => decode([zeroMaskedHeader(OPCODE.binary, 1_001)], 1_000), failsWith(1009))
  // As a signed 32-bit number this length is -14: the library's parser steps back to the start of the frame for ever.
  const negative = Buffer.concat([Buffer.of(0x82, 0xff), Buffer.from('00000000fffffff2', 'hex'), Buffer.alloc(4)])
  assert.throws(() => decode([negative], 1_000), failsWith(1009))
  const half = frame(OPCODE.binary, Buffer.alloc(600), { fin: false })
  assert.throws(() => decode([half, frame(OPCODE.continuation, Buffer.alloc(600))], 1_000), failsWith(1009))
})

test('every spelling of a peer address the library makes is read', () => {
  assert.deepEqual(parsePeer('127.0.0.1:80'), { ip: '127.0.0.1', port: 80 })
  assert.deepEqual(parsePeer('[::ffff:127.0.0.1]:4433'), { ip: '127.0.0.1', port: 4433 })
  assert.deepEqual(parsePeer('::ffff:10.0.0.1:4433'), { ip: '10.0.0.1', port: 4433 })
  assert.deepEqual(parsePeer('[::1]:9'), { ip: '::1', port: 9 })
  assert.deepEqual(parsePeer('2001:db8::7:9'), { ip: '2001:db8::7', port: 9 })
  assert.equal(parsePeer('undefined:undefined'), undefined)
  assert.equal(parsePeer(''), undefined)
})

test('the request takes path, authority and headers from where each transport keeps them', () => {
  const base = { peerAddress: '127.0.0.1:5', protocol: 'x', session: undefined }
  const upgraded = toSessionRequest({ ...base, header: { ':path': '//v1/viewer?a=1', host: 'h:9004', 'X-Multi': ['a', 'b'] } })
  assert.deepEqual(upgraded, { path: '/v1/viewer?a=1', authority: 'h:9004', headers: { host: 'h:9004', 'x-multi': 'a, b' }, peer: { ip: '127.0.0.1', port: 5 } })
  const connect = toSessionRequest({ ...base, header: { ':path': '/v1/viewer', ':authority': 'relay:1', ':protocol': 'webtransport' } })
  assert.deepEqual([connect?.authority, connect?.headers], ['relay:1', {}])
})
