import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { clientInitial, cryptoFrame, cryptoPieces, helloInitials, initialKeys, openInitial, recordClientHello, sealInitial } from '../../../tools/harness/quic-initial.ts'

/** Connection id and packets of RFC 9001, Appendix A. */
const DCID = Buffer.from('8394c8f03e515708', 'hex')
const CLIENT_HELLO = Buffer.from('060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c00000413011302010000c000000010000e00000b6578616d706c652e636f6dff01000100000a00080006001d0017001800100007000504616c706e000500050100000000003300260024001d00209370b2c9caa47fbabaf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b0003020304000d0010000e0403050306030203080408050806002d00020101001c00024001003900320408ffffffffffffffff05048000ffff07048000ffff0801100104800075300901100f088394c8f03e51570806048000ffff', 'hex')
const SERVER_FRAMES = Buffer.from('02000000000600405a020000560303eefce7f7b37ba1d1632e96677825ddf73988cfc79825df566dc5430b9a045a1200130100002e00330024001d00209d3c940d89690b84d08a60993c144eca684d1081287c834d5311bcf32bb9da1a002b00020304', 'hex')
const SERVER_PACKET = 'cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb38cc5a99f5ede4cf73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84022f8ef4cdd93795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc42158407dd074ee'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

test('keys are those of RFC 9001, Appendix A.1', () => {
  const client = initialKeys(DCID, 'client')
  assert.deepEqual([client.key, client.iv, client.hp].map(hex), ['1f369613dd76d5467730efcbe3b1a22d', 'fa044b2f42a3fd3b46fb255c', '9f50449e04a0e810283a1e9933adedd2'])
  const server = initialKeys(DCID, 'server')
  assert.deepEqual([server.key, server.iv, server.hp].map(hex), ['cf3a5331653c364c88f0f379b6067e37', '0ac1493ca1905853b0bba03e', 'c206b8d9b9f0f37644430b490eeaa314'])
})

test("a client's Initial is that of Appendix A.2, to its tag", () => {
  const payload = Buffer.alloc(1_162)
  payload.set(CLIENT_HELLO)
  const packet = sealInitial({ dcid: DCID, scid: Buffer.alloc(0), packetNumber: 2, payload })
  assert.equal(packet.length, 1_200)
  assert.equal(hex(packet.subarray(0, 38)), 'c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11d242b123dc9b')
  assert.equal(hex(packet.subarray(-16)), 'e221af44860018ab0856972e194cd934')
  const opened = openInitial(packet)
  assert.deepEqual([opened.packetNumber, hex(opened.dcid), hex(opened.payload)], [2, hex(DCID), hex(payload)])
  assert.equal(hex(cryptoPieces(opened.payload)[0]?.bytes ?? Buffer.alloc(0)), hex(CLIENT_HELLO.subarray(4)))
})

test("a server's Initial is that of Appendix A.3", () => {
  const keys = initialKeys(DCID, 'server')
  const packet = sealInitial({ dcid: Buffer.alloc(0), scid: Buffer.from('f067a5502a4262b5', 'hex'), packetNumber: 1, payload: SERVER_FRAMES }, keys, 2)
  assert.equal(hex(packet), SERVER_PACKET)
  assert.equal(hex(openInitial(packet, () => keys).payload), hex(SERVER_FRAMES))
})

test('what is sealed is opened again; with any bit changed it is not', () => {
  const bytes = (minLength: number, maxLength: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength, maxLength })
  fc.assert(fc.property(bytes(8, 20), bytes(0, 20), fc.nat(0xffffffff), bytes(20, 1_300), fc.nat(), (dcid, scid, packetNumber, payload, place) => {
    const packet = sealInitial({ dcid, scid, packetNumber, payload })
    const opened = openInitial(packet)
    assert.deepEqual([hex(opened.dcid), hex(opened.scid), opened.packetNumber, hex(opened.payload)], [hex(dcid), hex(scid), packetNumber, hex(payload)])
    const at = place % packet.length
    packet[at] = (packet[at] ?? 0) ^ (1 << place % 8)
    assert.throws(() => openInitial(packet))
  }), { numRuns: 200 })
})

test('CRYPTO frames are read as they were written, with padding between them', () => {
  const piece = fc.record({ offset: fc.nat(100_000), bytes: fc.uint8Array({ maxLength: 300 }) })
  fc.assert(fc.property(fc.array(piece, { maxLength: 4 }), pieces => {
    const payload = Buffer.concat(pieces.flatMap(each => [cryptoFrame(each), Buffer.alloc(3)]))
    assert.deepEqual(cryptoPieces(payload).map(({ offset, bytes }) => [offset, hex(bytes)]), pieces.map(({ offset, bytes }) => [offset, hex(bytes)]))
  }))
})

test("the hello of the engine's client is put under other connection ids", async () => {
  const hello = await recordClientHello()
  assert.equal(hello.bytes[0], 1, 'a ClientHello')
  assert.equal(hello.bytes.length, 4 + hello.bytes.readUIntBE(1, 3))
  const dcid = Buffer.alloc(16, 7)
  const packets = helloInitials(hello, dcid)
  const opened = packets.map(packet => openInitial(packet))
  assert.ok(packets.every(packet => packet.length >= 1_200 && packet.length <= 1_252), String(packets.map(packet => packet.length)))
  assert.deepEqual(opened.map(({ packetNumber }) => packetNumber), packets.map((_, position) => position))
  assert.ok(opened.every(initial => hex(initial.dcid) === hex(dcid) && hex(initial.scid) === hex(hello.scid)))
  assert.equal(hex(Buffer.concat(opened.flatMap(({ payload }) => cryptoPieces(payload)).map(({ bytes }) => bytes))), hex(hello.bytes))
  assert.notEqual(hex(helloInitials(hello)[0] ?? dcid), hex(packets[0] ?? dcid))
})

test('a short Initial is filled up to a whole datagram', () => {
  assert.equal(clientInitial(DCID, DCID, 0, Buffer.from([1])).length, 1_200)
})
