import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BlockSet } from '../../../../src/plugins/shard-cache/block-set.ts'

test('any history: a block set is a set of the blocks of its object, also after a round trip through bytes', () => {
  const steps = fc.array(fc.record({ adds: fc.boolean(), block: fc.integer({ min: -2, max: 42 }) }), { maxLength: 120 })
  fc.assert(fc.property(fc.integer({ min: 0, max: 40 }), steps, (size, history) => {
    const blocks = new BlockSet(size)
    const model = new Set<number>()
    const check = (set: BlockSet): void => {
      assert.equal(set.count, model.size)
      assert.equal(set.full, model.size === size)
      for (let block = 0; block < size; block++) assert.equal(set.has(block), model.has(block))
      for (let from = 0; from <= size; from++) {
        const rest = Array.from({ length: size - from }, (_, at) => from + at)
        assert.equal(set.firstMissing(from), rest.find(block => !model.has(block)) ?? size)
        assert.equal(set.firstPresent(from), rest.find(block => model.has(block)) ?? size)
      }
    }
    for (const { adds, block } of history) {
      if (adds) blocks.add(block)
      else blocks.delete(block)
      if (adds && block >= 0 && block < size) model.add(block)
      else if (!adds) model.delete(block)
      assert.equal(blocks.has(block), model.has(block))
    }
    check(blocks)
    const bytes = blocks.toBytes()
    assert.equal(bytes.length, Math.ceil(size / 8))
    check(new BlockSet(size, bytes))
    // They are a copy.
    bytes.fill(0)
    check(blocks)
  }))
})

test('bytes from elsewhere say nothing of blocks that the object does not have, and what they are too short for is missing', () => {
  const long = new BlockSet(5, Buffer.of(0xff, 0xff))
  assert.deepEqual([long.count, long.full, long.has(5), long.has(-1)], [5, true, false, false])
  assert.deepEqual([...long.toBytes()], [0b0001_1111])
  const short = new BlockSet(12, Buffer.of(0b1000_0001))
  assert.deepEqual([short.count, short.firstMissing(0), short.firstPresent(1), short.firstPresent(8)], [2, 1, 7, 12])
})
