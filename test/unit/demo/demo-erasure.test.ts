import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { STRIPE_BYTES, encodeParity, encodeShards, reconstructShards } from '../../../demo/super-node/erasure.ts'

const media = fc.uint8Array({ minLength: 1, maxLength: 500 })
const lost = fc.uniqueArray(fc.nat(13), { maxLength: 4 })

test('the parity of the one-byte shards 1..10 is the one the super-nodes compute', () => {
  const data = Array.from({ length: 10 }, (_, index) => Uint8Array.of(index + 1))
  assert.deepEqual(encodeParity(data).map(shard => [...shard]), [[69], [242], [18], [118]])
})

test('data shards are the media in order, zero-padded to ceil(length / 10)', () => {
  fc.assert(fc.property(media, bytes => {
    const shards = encodeShards(bytes)
    const size = Math.ceil(bytes.length / 10)
    assert.deepEqual(shards.map(shard => shard.length), Array<number>(14).fill(size))
    const padded = Buffer.alloc(size * 10)
    padded.set(bytes)
    assert.ok(Buffer.concat(shards.slice(0, 10)).equals(padded))
  }))
})

test('any four lost shards come back as the same bytes', () => {
  fc.assert(fc.property(media, lost, (bytes, missing) => {
    const shards = encodeShards(bytes)
    const repaired = reconstructShards(shards.map((shard, index) => missing.includes(index) ? undefined : shard))
    assert.deepEqual(repaired, shards)
  }))
})

test('every choice of four lost shards is repaired', () => {
  const shards = encodeShards(Buffer.from('a video of forty-one bytes, more or less.'))
  for (let a = 0; a < 14; a++) {
    for (let b = a + 1; b < 14; b++) {
      for (let c = b + 1; c < 14; c++) {
        for (let d = c + 1; d < 14; d++) {
          const gone = new Set([a, b, c, d])
          assert.deepEqual(reconstructShards(shards.map((shard, index) => gone.has(index) ? undefined : shard)), shards)
        }
      }
    }
  }
})

test('stripes join without a seam: a shard of more than one stripe codes like its bytes one by one', () => {
  const size = STRIPE_BYTES + 3
  const data = Array.from({ length: 10 }, (_, shard) => Buffer.alloc(size, shard * 25 + 1))
  for (const at of [0, STRIPE_BYTES - 1, STRIPE_BYTES, size - 1]) for (const [shard, bytes] of data.entries()) bytes[at] = shard ^ (at & 0xff)
  const parity = encodeParity(data)
  for (const at of [0, 1, STRIPE_BYTES - 1, STRIPE_BYTES, size - 1]) {
    const column = encodeParity(data.map(bytes => bytes.subarray(at, at + 1)))
    assert.deepEqual(parity.map(bytes => bytes[at]), column.map(bytes => bytes[0]))
  }
})

test('a fifth lost shard is an error, not wrong bytes', () => {
  const shards = encodeShards(Buffer.from('x'.repeat(100)))
  assert.throws(() => reconstructShards(shards.map((shard, index) => index < 5 ? undefined : shard)), /Too few shards/)
})

test('input that cannot be sharded is named', () => {
  assert.throws(() => encodeShards(new Uint8Array(0)), RangeError)
  assert.throws(() => encodeParity([Uint8Array.of(1)]), /10 data shards are needed, got 1/)
  assert.throws(() => encodeParity(Array.from({ length: 10 }, (_, index) => new Uint8Array(index + 1))), /same size/)
  assert.throws(() => reconstructShards([Uint8Array.of(1)]), /14 places/)
})
