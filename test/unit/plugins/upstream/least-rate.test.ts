import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { LeastRate } from '../../../../src/plugins/upstream/least-rate.ts'
import { ENOUGH_NOT_FOUND, SEARCH_BURST, SearchBudget } from '../../../../src/plugins/upstream/search-budget.ts'

test('a byte a second is too slow once a window has passed, one long wait counts as the windows it spans', () => {
  const drip = new LeastRate(65_536, 5_000)
  assert.deepEqual([1, 2, 3, 4, 5].map(() => drip.took(1, 1_000)), [true, true, true, true, false])
  assert.equal(new LeastRate(8_000, 1_000).took(3_999, 4_000), false)
  assert.equal(new LeastRate(8_000, 1_000).took(4_000, 4_000), true)
})

test('whatever comes at the least rate in every window passes, and 0 takes any pace', () => {
  fc.assert(fc.property(fc.array(fc.integer({ min: 0, max: 3_000 }), { minLength: 1 }), waits => {
    const rate = new LeastRate(80_000, 5_000)
    const any = new LeastRate(0, 5_000)
    for (const ms of waits) {
      assert.ok(rate.took(ms * 10, ms))
      assert.ok(any.took(0, ms))
    }
  }))
})

test('searches: never more than the burst and what time and finds have brought, never above the burst', () => {
  const step = fc.oneof(fc.constant('spend' as const), fc.constant('found' as const), fc.integer({ min: 1, max: 5_000 }))
  fc.assert(fc.property(fc.array(step, { maxLength: 300 }), steps => {
    const budget = new SearchBudget(0)
    let now = 0
    let spent = 0
    let earned = SEARCH_BURST
    for (const action of steps) {
      if (typeof action === 'number') {
        now += action
        earned += action / 1_000
      } else if (action === 'found') {
        budget.found()
        earned += 2
      } else if (budget.spend(now)) spent++
      assert.ok(spent <= earned + 1e-6)
    }
    let burst = 0
    while (budget.spend(now)) burst++
    assert.ok(burst <= SEARCH_BURST)
    assert.equal(ENOUGH_NOT_FOUND, 2)
  }))
})
