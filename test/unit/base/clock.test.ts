import assert from 'node:assert/strict'
import test from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterArrivals, type Timers } from '../../../src/base/clock.ts'

test('a deadline comes after what arrived while the loop stood still, and not when that has called it off', async () => {
  const fire: (() => void)[] = []
  const timers: Timers = { now: () => 0, after: (_ms, callback) => { fire.push(callback); return () => {} } }
  const told: string[] = []
  afterArrivals(timers, 100, () => { told.push('late') })
  const cancel = afterArrivals(timers, 100, () => { told.push('never') })
  for (const timer of fire) timer()
  // The answer is read in the same turn, behind the timers.
  told.push('answer')
  cancel()
  await nextTurn()
  assert.deepEqual(told, ['answer', 'late'])
})
