import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { Interned } from '../../../src/storage/interned.ts'

test('a string keeps its number while somebody uses it, and no two strings have the same one', () => {
  const string = fc.oneof(fc.constantFrom('a', 'ab', 'b', '', '-'), fc.string({ unit: fc.constantFrom('x', 'y'), minLength: 1, maxLength: 3 }), fc.constant('z'.repeat(300)))
  fc.assert(fc.property(fc.array(fc.tuple(string, fc.boolean()), { maxLength: 400, size: 'max' }), steps => {
    const interned = new Interned()
    const model = new Map<string, { number: number, uses: number }>()
    for (const [each, comes] of steps) {
      const known = model.get(each)
      if (comes) {
        const number = interned.use(each)
        if (known === undefined) model.set(each, { number, uses: 1 })
        else {
          assert.equal(number, known.number)
          known.uses++
        }
      } else if (known !== undefined) {
        known.uses--
        assert.equal(interned.leave(known.number), known.uses === 0)
        if (known.uses === 0) model.delete(each)
      }
      assert.equal(interned.count, model.size)
      assert.equal(new Set(Array.from(model.values(), ({ number }) => number)).size, model.size)
      for (const [one, { number }] of model) {
        assert.equal(interned.numberOf(one), number)
        assert.equal(interned.stringOf(number), one)
        assert.notEqual(number, 0)
      }
      if (!model.has(each)) assert.equal(interned.numberOf(each), 0)
    }
  }), { numRuns: 100 })
})
