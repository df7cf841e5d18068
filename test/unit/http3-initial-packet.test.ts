/** Initial packets sealed without a connection, against the vectors of RFC 9001 Appendix A and a reader written from its text. */
import assert from 'node:assert/strict'
import { createCipheriv, createDecipheriv } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { closeInitial, initialKeys, protect, QUIC_ERROR } from '../../src/gateway/transports/http3/initial-packet.ts'
import { parseHeader } from '../../src/gateway/transports/http3/packet-header.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex')
const DCID = hex('8394c8f03e515708')

test('RFC 9001 A.1: keys of client and server', () => {
  assert.deepEqual(initialKeys(DCID, 'client'), { key: hex('1f369613dd76d5467730efcbe3b1a22d'), iv: hex('fa044b2f42a3fd3b46fb255c'), hp: hex('9f50449e04a0e810283a1e9933adedd2') })
  assert.deepEqual(initialKeys(DCID, 'server'), { key: hex('cf3a5331653c364c88f0f379b6067e37'), iv: hex('0ac1493ca1905853b0bba03e'), hp: hex('c206b8d9b9f0f37644430b490eeaa314') })
})

test('RFC 9001 A.3: a protected Initial of the server', () => {
  const payload = hex(`02000000000600405a020000560303ee fce7f7b37ba1d1632e96677825ddf739 88cfc79825df566dc5430b9a045a1200
    130100002e00330024001d00209d3c94 0d89690b84d08a60993c144eca684d10 81287c834d5311bcf32bb9da1a002b00 020304`)
  const header = hex('c1000000010008f067a5502a4262b50040750001')
  assert.equal(protect(initialKeys(DCID, 'server'), header, 1, payload).toString('hex'), hex(`
    cf000000010008f067a5502a4262b500 4075c0d95a482cd0991cd25b0aac406a 5816b6394100f37a1c69797554780bb3 8cc5a99f5ede4cf73c3ec2493a1839b3
    dbcba3f6ea46c5b7684df3548e7ddeb9 c3bf9c73cc3f3bded74b562bfb19fb84 022f8ef4cdd93795d77d06edbb7aaf2f 58891850abbdca3d20398c276456cbc4
    2158407dd074ee`).toString('hex'))
})

test('RFC 9001 A.2: a protected Initial of the client, whose packet number has four bytes', () => {
  const crypto = hex(`060040f1010000ed0303ebf8fa56f129 39b9584a3896472ec40bb863cfd3e868 04fe3a47f06a2b69484c000004130113
    02010000c000000010000e00000b6578 616d706c652e636f6dff01000100000a 00080006001d00170018001000070005 04616c706e0005000501000000000033
    00260024001d00209370b2c9caa47fba baf4559fedba753de171fa71f50f1ce1 5d43e994ec74d748002b000302030400 0d0010000e0403050306030203080408
    050806002d00020101001c0002400100 3900320408ffffffffffffffff050480 00ffff07048000ffff08011001048000 75300901100f088394c8f03e51570806
    048000ffff`)
  const payload = Buffer.concat([crypto, Buffer.alloc(1162 - crypto.length)])
  const packet = protect(initialKeys(DCID, 'client'), hex('c300000001088394c8f03e5157080000449e00000002'), 2, payload)
  assert.equal(packet.length, 1200)
  assert.equal(packet.subarray(0, 64).toString('hex'), hex('c000000001088394c8f03e5157080000 449e7b9aec34d1b1c98dd7689fb8ec11 d242b123dc9bd8bab936b47d92ec356c 0bab7df5976d27cd449f63300099f399').toString('hex'))
  assert.equal(packet.subarray(-16).toString('hex'), 'e221af44860018ab0856972e194cd934')
})

/** Opens a server's Initial as a client does (RFC 9001 §5.4.1, §5.3); returns its payload. */
function open (packet: Buffer, clientDcid: Uint8Array): { dcid: Buffer, scid: Buffer, payload: Buffer } {
  const header = parseHeader(packet)
  assert.ok(header?.kind === 'initial' && header.token.length === 0)
  const keys = initialKeys(clientDcid, 'server')
  // Behind the ids: a token length of one byte, and a length that fits in one or two.
  let at = 6 + header.dcid.length + 1 + header.scid.length + 1
  let length = packet[at++] ?? 0
  if (length >= 0x40) length = (length & 0x3f) << 8 | (packet[at++] ?? 0)
  assert.equal(at + length, packet.length, 'one packet and nothing behind it')
  const mask = createCipheriv('aes-128-ecb', keys.hp, null).update(packet.subarray(at + 4, at + 20))
  const plain = Buffer.from(packet)
  plain[0] = (plain[0] ?? 0) ^ ((mask[0] ?? 0) & 0x0f)
  assert.equal(plain[0], 0xc0, 'reserved bits are 0, the packet number has one byte')
  plain[at] = (plain[at] ?? 0) ^ (mask[1] ?? 0)
  assert.equal(plain[at], 0)
  const cipher = createDecipheriv('aes-128-gcm', keys.key, keys.iv, { authTagLength: 16 }).setAAD(plain.subarray(0, at + 1)).setAuthTag(packet.subarray(-16))
  return { dcid: header.dcid, scid: header.scid, payload: Buffer.concat([cipher.update(packet.subarray(at + 1, -16)), cipher.final()]) }
}

test('a refusal is for the client’s ids, says its code and reason, and is far smaller than what it answers', () => {
  const id = (minLength: number) => fc.uint8Array({ minLength, maxLength: 20 })
  const reason = fc.string({ unit: fc.constantFrom(...'abcdefghijklmnopqrstuvwxyz '), maxLength: 63 })
  fc.assert(fc.property(id(8), id(0), id(1), fc.constantFrom(...Object.values(QUIC_ERROR)), reason, (dcid, scid, ours, code, text) => {
    const packet = closeInitial({ dcid, scid }, ours, code, text)
    assert.ok(packet.length < 150)
    const opened = open(packet, dcid)
    assert.deepEqual(opened.dcid, Buffer.from(scid))
    assert.deepEqual(opened.scid, Buffer.from(ours))
    assert.deepEqual(opened.payload, Buffer.concat([Buffer.of(0x1c, code, 0, text.length), Buffer.from(text)]))
  }))
})
