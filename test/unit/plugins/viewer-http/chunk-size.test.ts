/** How much a response reads in one go, and that large chunks stay bounded. */
import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import test from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import { ChunkMemory } from '../../../../src/plugins/viewer-http/chunk-memory.ts'
import { ChunkSize, LARGE_CHUNK_BYTES, LargeChunks } from '../../../../src/plugins/viewer-http/chunk-size.ts'
import { ShardStream, type ShardStreamOptions } from '../../../../src/plugins/viewer-http/shard-stream.ts'
import type { OpenShard } from '../../../../src/plugins/shards/open-shard.ts'
import { bytesOf } from '../../../support/cache.ts'
import { openShardOf } from '../../../fakes/open-shard.ts'

const SMALL = 1_000

test('a viewer who keeps up gets large chunks, one who does not gets small ones and gives them back', () => {
  const large = new LargeChunks(1)
  const size = new ChunkSize(SMALL, large)
  assert.deepEqual([size.bytes, large.taken], [SMALL, 0])
  size.chunkRead(true)
  assert.deepEqual([size.bytes, large.taken], [LARGE_CHUNK_BYTES, 1])
  // The large chunk arrives, and the one before it has not been taken.
  size.chunkRead(false)
  assert.deepEqual([size.bytes, large.taken], [SMALL, 1])
  size.chunkRead(false)
  assert.deepEqual([size.bytes, large.taken], [SMALL, 1])
  size.chunkRead(false)
  assert.deepEqual([size.bytes, large.taken], [SMALL, 0])
  size.chunkRead(true)
  assert.equal(large.taken, 1)
  size.end()
  size.end()
  size.chunkRead(true)
  assert.deepEqual([size.bytes, large.taken], [SMALL, 0])
  assert.throws(() => { large.giveBack() }, /nothing was taken/)
})

test('without leave, or when all of it is taken, chunks are small', () => {
  const large = new LargeChunks(1)
  const first = new ChunkSize(SMALL, large)
  const second = new ChunkSize(SMALL, large)
  const third = new ChunkSize(SMALL)
  for (const size of [first, second, third]) size.chunkRead(true)
  assert.deepEqual([first.bytes, second.bytes, third.bytes], [LARGE_CHUNK_BYTES, SMALL, SMALL])
  first.end()
  second.chunkRead(true)
  assert.equal(second.bytes, LARGE_CHUNK_BYTES)
})

test('never more responses with large chunks than may be, whatever viewers do', () => {
  const step = fc.record({ response: fc.nat(5), does: fc.constantFrom('keeps up', 'is late', 'ends') })
  fc.assert(fc.property(fc.integer({ min: 1, max: 3 }), fc.array(step, { maxLength: 100 }), (most, steps) => {
    const large = new LargeChunks(most)
    const sizes = Array.from({ length: 6 }, () => new ChunkSize(SMALL, large))
    // The last two chunks of each response and the one it reads next: what may be in memory.
    const held = sizes.map(() => [0, 0])
    for (const { response, does } of steps) {
      const size = sizes[response]
      if (size === undefined) continue
      if (does === 'ends') {
        size.end()
        held[response] = [0, 0]
      } else {
        held[response] = [...held[response] ?? [], size.bytes].slice(-2)
        size.chunkRead(does === 'keeps up')
      }
      const withLarge = sizes.filter(({ bytes }, index) => bytes > SMALL || held[index]?.some(chunk => chunk > SMALL)).length
      assert.ok(large.taken <= most && withLarge <= large.taken, `${withLarge} hold large chunks, ${large.taken} may`)
    }
    for (const size of sizes) size.end()
    assert.equal(large.taken, 0)
  }))
})

function openShard (body: Buffer, asked: number[]): OpenShard {
  return openShardOf(body, {
    read: async (position, length) => {
      asked.push(length)
      return body.subarray(position, position + length)
    }
  })
}

function unlimited (chunkSize: ChunkSize): ShardStreamOptions {
  const pace = { limited: false, readBytes: (most: number) => most, take: (wanted: number) => wanted, giveBack: () => {} }
  return { chunkSize, memory: new ChunkMemory(), pace, onChunk: () => {}, onWait: () => {} }
}

test('a stream reads large chunks for a sink that takes them and small ones for one that does not', async () => {
  const body = bytesOf('chunks', 4 * LARGE_CHUNK_BYTES)
  const large = new LargeChunks()
  const asked: number[] = []
  const fast = new ChunkSize(SMALL, large)
  const pieces: Buffer[] = []
  for await (const piece of new ShardStream(openShard(body, asked), { start: 0, end: body.length }, unlimited(fast)).pipe(new PassThrough({ highWaterMark: 2 * body.length }))) pieces.push(piece as Buffer)
  assert.ok(Buffer.concat(pieces).equals(body))
  assert.deepEqual(asked.slice(0, 3), [SMALL, LARGE_CHUNK_BYTES, LARGE_CHUNK_BYTES])
  const late: number[] = []
  const stuck = new ShardStream(openShard(body, late), { start: 0, end: body.length }, unlimited(new ChunkSize(SMALL, large)))
  const sink = new PassThrough({ highWaterMark: 1 })
  stuck.pipe(sink)
  for (let turn = 0; turn < 20; turn++) await nextTurn()
  // One chunk is with the sink, one waits; nothing more is read.
  assert.equal(late.length, 2)
  stuck.destroy()
  sink.destroy()
})
