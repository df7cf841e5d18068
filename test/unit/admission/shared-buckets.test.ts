import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { MAX_REPORTED, SharedBuckets } from '../../../src/admission/shared-buckets.ts'

const RATE = 200

suite('one bucket of an address over two processes', () => {
  test('both together let through two buckets and the rate times the time and one pause between reports at most', () => {
    fc.assert(fc.property(fc.integer({ min: 50, max: 1_000 }), fc.array(fc.tuple(fc.nat(30), fc.nat(30)), { minLength: 50, maxLength: 400 }), (period, greed) => {
      const [http, sessions] = [new SharedBuckets(RATE, 10), new SharedBuckets(RATE, 10)]
      let through = 0
      let now = 0
      let exchangeAt = period
      for (const [a, b] of greed) {
        for (let n = 0; n < a; n++) if (http.take('a', now)) through++
        for (let n = 0; n < b; n++) if (sessions.take('a', now)) through++
        now += 10
        if (now >= exchangeAt) {
          exchangeAt += period
          const [one, other] = [http.report(), sessions.report()]
          http.charge(other, now)
          sessions.charge(one, now)
        }
        // A report comes with the step after the pause has passed.
        assert.ok(through <= 2 * RATE + RATE * (now + period + 10) / 1_000, `${through} in ${now} ms`)
      }
    }))
  })

  test('who asks for ten times as much on both transports for a minute gets the rate and two buckets', () => {
    const [http, sessions] = [new SharedBuckets(RATE, 10), new SharedBuckets(RATE, 10)]
    let through = 0
    for (let now = 0; now < 60_000; now += 10) {
      for (let n = 0; n < 10; n++) for (const buckets of [http, sessions]) if (buckets.take('a', now)) through++
      if (now % 250 !== 0) continue
      const [one, other] = [http.report(), sessions.report()]
      http.charge(other, now)
      sessions.charge(one, now)
    }
    assert.ok(through <= 62 * RATE && through >= 58 * RATE, String(through))
  })

  test('what is to be reported is bounded, in addresses and in tokens', () => {
    const buckets = new SharedBuckets(RATE, 1_500)
    for (let n = 0; n < 5_000; n++) buckets.spend(String(n), 0)
    assert.equal(buckets.unreported, 1_500)
    assert.equal(buckets.report().length, MAX_REPORTED)
    assert.equal(buckets.report().length, 500)
    assert.equal(buckets.report().length, 0)
    for (let n = 0; n < 5_000; n++) buckets.spend('a', 0)
    assert.deepEqual(buckets.report(), [['a', 2 * RATE]])
    // What the other process reports is not reported back.
    buckets.charge([['b', 5]], 0)
    assert.deepEqual(buckets.report(), [])
  })
})
