import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { sortByTime } from '../../../src/storage/sort-by-time.ts'

function sorted (times: readonly number[]): number[] {
  const steps = sortByTime(Float64Array.from(times))
  let step = steps.next()
  while (step.done !== true) step = steps.next()
  return Array.from(step.value)
}

test('positions come in the order of their times, equal ones as they were, whatever the times', () => {
  const time = fc.oneof(fc.double({ min: 0, noNaN: true }).map(ms => ms + 0), fc.nat(5), fc.integer({ min: 1_700_000_000_000, max: 1_700_000_000_100 }), fc.constantFrom(0, 0.001, 2 ** 43, Infinity))
  fc.assert(fc.property(fc.array(time, { maxLength: 80 }), times => {
    const expected = Array.from(times.keys()).sort((one, other) => Number((times[one] ?? 0) > (times[other] ?? 0)) - Number((times[one] ?? 0) < (times[other] ?? 0)))
    assert.deepEqual(sorted(times), expected)
  }), { numRuns: 500 })
})
