import assert from 'node:assert/strict'
import test from 'node:test'
import { LogBudget } from '../../../src/base/log-budget.ts'

test('lines beyond the budget are counted, told once, and the next period starts afresh', () => {
  const budget = new LogBudget(3)
  assert.deepEqual(Array.from({ length: 5 }, () => budget.spend()), [true, true, true, false, false])
  assert.equal(budget.renew(), 2)
  assert.equal(budget.renew(), 0)
  assert.equal(budget.spend(), true)
})
