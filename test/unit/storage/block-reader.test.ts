import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BLOCK_BYTES, blockDigests, BlockReader, noteBlock, RotError, type ReadInto } from '../../../src/storage/block-reader.ts'
import { MAX_READ_BYTES } from '../../../src/storage/disk-files.ts'
import { bytesOf } from '../../support/cache.ts'

function digestsOf (bytes: Buffer): Buffer {
  const digests = blockDigests(bytes.length)
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) noteBlock(digests, at, bytes.subarray(at, at + BLOCK_BYTES))
  return digests
}

/** A file that gives at most `most` bytes a read. */
function fileOf (bytes: Buffer, most = Infinity): { read: ReadInto, bytesRead: () => number } {
  let total = 0
  return {
    read: async (into, offset, length, position) => {
      const copied = bytes.copy(into, offset, position, Math.min(position + Math.min(length, most), bytes.length))
      total += copied
      return copied
    },
    bytesRead: () => total
  }
}

const sizes = fc.oneof(fc.constantFrom(1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES), fc.integer({ min: 1, max: 5 * BLOCK_BYTES }))

test('whatever is read in whatever pieces: right bytes, or RotError for a block with a flipped bit, and never a byte of that block', async () => {
  await fc.assert(fc.asyncProperty(sizes, fc.double({ min: 0, max: 0.999999, noNaN: true }), fc.option(fc.double({ min: 0, max: 0.999999, noNaN: true }), { nil: undefined }), fc.array(fc.integer({ min: 1, max: 2 * MAX_READ_BYTES }), { minLength: 1, maxLength: 4 }), fc.boolean(), fc.constantFrom(Infinity, 100_000), async (size, from, flip, lengths, reuse, most) => {
    const bytes = bytesOf('block-reader', size)
    const digests = digestsOf(bytes)
    const stored = Buffer.from(bytes)
    const flipped = flip === undefined ? -1 : Math.floor(flip * size)
    if (flipped >= 0) stored[flipped] = (stored[flipped] ?? 0) ^ 4
    const rotten = Math.floor(flipped / BLOCK_BYTES)
    const reader = new BlockReader(size, digests, fileOf(stored, most).read)
    const into = reuse ? Buffer.alloc(MAX_READ_BYTES) : undefined
    let position = Math.floor(from * size)
    for (let turn = 0; position < size && turn < 40; turn++) {
      const length = lengths[turn % lengths.length] ?? 1
      try {
        const piece = await reader.read(position, length, into)
        assert.ok(piece.length >= 1 && piece.length <= length)
        assert.ok(bytes.subarray(position, position + piece.length).equals(piece))
        assert.ok(flipped < 0 || position + piece.length <= rotten * BLOCK_BYTES || position >= (rotten + 1) * BLOCK_BYTES)
        position += piece.length
      } catch (error) {
        assert.ok(error instanceof RotError && flipped >= 0, String(error))
        return
      }
    }
  }), { numRuns: 150 })
})

test('a reader of small pieces has every block read once', async () => {
  const bytes = bytesOf('small', 3 * BLOCK_BYTES + 5)
  const file = fileOf(bytes)
  const reader = new BlockReader(bytes.length, digestsOf(bytes), file.read)
  const pieces: Uint8Array[] = []
  for (let at = 0; at < bytes.length;) {
    const piece = await reader.read(at, 10_000)
    pieces.push(piece)
    at += piece.length
  }
  assert.ok(Buffer.concat(pieces).equals(bytes))
  assert.equal(file.bytesRead(), bytes.length)
})

test('a file that has become shorter is rot', async () => {
  const bytes = bytesOf('short', BLOCK_BYTES + 100)
  const reader = new BlockReader(bytes.length, digestsOf(bytes), fileOf(bytes.subarray(0, BLOCK_BYTES + 50)).read)
  assert.equal((await reader.read(0, BLOCK_BYTES)).length, BLOCK_BYTES)
  await assert.rejects(reader.read(BLOCK_BYTES, 1), RotError)
})
