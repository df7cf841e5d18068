import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { draw } from '../../../support/cache.ts'
import { SiblingChoice, SPARE_SIBLINGS } from '../../../../src/plugins/repair/sibling-choice.ts'

suite('the choice of siblings', () => {
  test('with ten in the cache those are asked for, and nobody else', () => {
    const choice = new SiblingChoice(3, shard => shard < 11)
    assert.deepEqual(choice.next(), [0, 1, 2, 4, 5, 6, 7, 8, 9, 10])
    assert.deepEqual(choice.next(), [])
  })

  test('those of the cache come first, then super-nodes are asked for what is missing and one to spare', () => {
    const choice = new SiblingChoice(0, shard => shard >= 10)
    assert.deepEqual(choice.next(), [10, 11, 12, 13, 1, 2, 3, 4, 5, 6, 7])
    choice.lost(1)
    assert.deepEqual(choice.next(), [8])
    choice.lost(2)
    choice.lost(3)
    assert.deepEqual(choice.next(), [9])
    choice.lost(4)
    assert.equal(choice.hopeless, true)
    assert.deepEqual(choice.next(), [])
  })

  test('one that is lost after it came is replaced, first by the spare that came too late', () => {
    const choice = new SiblingChoice(13, () => false)
    for (const shard of choice.next()) assert.equal(choice.arrived(shard), shard < 10)
    assert.equal(choice.done, true)
    choice.lost(4)
    assert.deepEqual([choice.done, choice.hopeless], [false, false])
    assert.deepEqual(choice.next(), [10, 11])
    assert.equal(choice.arrived(11), true)
    assert.equal(choice.done, true)
    for (const shard of [0, 1]) choice.lost(shard)
    assert.equal(choice.hopeless, false)
    choice.lost(10)
    assert.equal(choice.hopeless, true)
  })

  test('whatever arrives and is lost in whatever order: ten are taken if ten can be had, each is asked for once, never the wanted one, never more than ten and the spare', () => {
    fc.assert(fc.property(
      fc.integer({ min: 0, max: 13 }),
      fc.uniqueArray(fc.integer({ min: 0, max: 13 })),
      fc.uniqueArray(fc.integer({ min: 0, max: 13 })),
      fc.infiniteStream(fc.nat()),
      (wanted, cached, gone, order) => {
        const choice = new SiblingChoice(wanted, shard => cached.includes(shard))
        const asked: number[] = []
        const open: number[] = []
        const taken: number[] = []
        const there = Array.from({ length: 14 }, (_, shard) => shard).filter(shard => shard !== wanted && !gone.includes(shard))
        for (;;) {
          const now = choice.next()
          asked.push(...now)
          open.push(...now)
          assert.ok(choice.asked <= 10 + SPARE_SIBLINGS && taken.length + choice.asked <= 10 + SPARE_SIBLINGS)
          assert.equal(choice.asked, open.length)
          if (choice.done || choice.hopeless || open.length === 0) break
          const [shard = -1] = open.splice(draw(order) % open.length, 1)
          if (!there.includes(shard)) choice.lost(shard)
          else if (choice.arrived(shard)) taken.push(shard)
        }
        assert.equal(new Set(asked).size, asked.length)
        assert.ok(!asked.includes(wanted))
        assert.equal(choice.done, there.length >= 10)
        assert.equal(taken.length, choice.done ? 10 : taken.length)
        // Nobody asks super-nodes while the cache has enough.
        if (there.filter(shard => cached.includes(shard)).length === cached.filter(shard => shard !== wanted).length && cached.filter(shard => shard !== wanted).length >= 10) assert.ok(asked.every(shard => cached.includes(shard)))
        for (const shard of open) assert.equal(choice.done ? choice.arrived(shard) : false, false)
      }
    ))
  })
})
