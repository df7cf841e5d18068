import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { AddressBuckets } from '../../../src/admission/address-buckets.ts'
import { FULL, isFull, Rate, RateBucket } from '../../../src/admission/rate.ts'
import { requestStore } from '../../../src/plugins/limits/request-store.ts'

const rates = fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constantFrom(100, 999, 1_000_000))
/** A process that has run up to 100 days, in parts of a millisecond as the clock gives them. */
const starts = fc.double({ min: 0, max: 8_640_000_000, noNaN: true })

suite('a rate', () => {
  test('lets exactly a second’s worth through in one burst, whatever the time', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 2_000 }), starts, (perSecond, now) => {
      const bucket = new RateBucket(perSecond)
      for (let taken = 0; taken < perSecond; taken++) assert.ok(bucket.take(now), `${taken + 1} of ${perSecond}`)
      assert.ok(!bucket.take(now))
    }))
  })

  test('lets no more through in any span of time than a second’s worth and what comes back meanwhile', () => {
    fc.assert(fc.property(rates, starts, fc.array(fc.double({ min: 0, max: 400, noNaN: true }), { maxLength: 200 }), (perSecond, start, steps) => {
      const bucket = new RateBucket(perSecond)
      const admitted: number[] = []
      let now = start
      for (const step of steps) {
        now += step
        if (bucket.take(now)) admitted.push(now)
      }
      admitted.forEach((from, first) => {
        const last = admitted.at(-1) ?? from
        const count = admitted.length - first
        assert.ok(count <= perSecond + Math.ceil((last - from) / 1_000 * perSecond) + 1, `${count} in ${last - from} ms at ${perSecond}`)
      })
    }))
  })

  test('says how long to wait: then there is a token, and a moment before there is none', () => {
    fc.assert(fc.property(rates, starts, fc.integer({ min: 1, max: 40 }), (perSecond, now, spent) => {
      const rate = new Rate(perSecond)
      let fullAt = FULL
      for (let n = 0; n < spent && rate.allows(fullAt, now); n++) fullAt = rate.spend(fullAt, now)
      const wait = rate.waitMs(fullAt, now)
      if (rate.allows(fullAt, now)) return assert.equal(wait, 0)
      // A microsecond either way, which is what a clock of 100 days can tell apart.
      assert.ok(rate.allows(fullAt, now + wait + 0.002))
      assert.ok(!rate.allows(fullAt, now + wait - 0.002))
      assert.equal(rate.missing(fullAt, now), perSecond)
    }))
  })

  test('is full again within a second, and not to be told from a new one then', () => {
    fc.assert(fc.property(rates, starts, (perSecond, now) => {
      const rate = new Rate(perSecond)
      let fullAt = FULL
      for (let n = 0; n < Math.min(perSecond, 100); n++) fullAt = rate.spend(fullAt, now)
      const later = now + 1_001
      assert.ok(isFull(fullAt, later))
      assert.equal(rate.spend(fullAt, later), rate.spend(FULL, later))
    }))
  })

  test('a change of rate keeps what is missing for no longer than a second', () => {
    const bucket = new RateBucket(10)
    while (bucket.take(0));
    bucket.perSecond = 100
    assert.ok(!bucket.take(9), 'nothing comes for free')
    assert.ok(bucket.take(10))
    bucket.perSecond = 1
    assert.ok(!bucket.take(1_009))
    assert.ok(bucket.take(1_010))
    assert.equal(bucket.perSecond, 1)
  })
})

suite('buckets by address', () => {
  test('hold no more addresses than their bound; the one that spent longest ago is forgotten, and asking counts for nothing', () => {
    const buckets = new AddressBuckets(1, 3)
    for (const key of ['a', 'b', 'c']) buckets.spend(key, 0)
    assert.ok(!buckets.allows('a', 1))
    buckets.spend('d', 1)
    assert.equal(buckets.size, 3)
    assert.ok(buckets.allows('a', 1), 'forgotten')
    for (const key of ['b', 'c', 'd']) assert.ok(!buckets.allows(key, 1), key)
  })

  test('those that are full again are forgotten', () => {
    const buckets = new AddressBuckets(10, 100)
    for (let n = 0; n < 50; n++) buckets.spend(`early-${n}`, 0)
    for (let n = 0; n < 50; n++) buckets.spend(`late-${n}`, 500)
    buckets.forgetIdle(99)
    assert.equal(buckets.size, 100)
    buckets.forgetIdle(100)
    assert.equal(buckets.size, 50)
    buckets.forgetIdle(600)
    assert.equal(buckets.size, 0)
  })

  test('a smaller bound keeps those that spent last, a larger one all, and none spends twice', () => {
    const buckets = new AddressBuckets(1, 4)
    for (const key of ['a', 'b', 'c', 'd']) buckets.spend(key, 0)
    buckets.change(1, 2)
    assert.equal(buckets.size, 2)
    assert.deepEqual(['a', 'b', 'c', 'd'].map(key => buckets.allows(key, 1)), [true, true, false, false])
    buckets.change(1, 1_000)
    assert.equal(buckets.maxAddresses, 1_000)
    assert.deepEqual(['a', 'b', 'c', 'd'].map(key => buckets.allows(key, 1)), [true, true, false, false])
  })
})

test('requests over HTTP: the store of @fastify/rate-limit counts what is missing, refuses above the limit, and says how long to wait', () => {
  let now = 0
  const Store = requestStore(new AddressBuckets(4, 10), () => 4, () => now)
  const store = new Store()
  const ask = (key: string): unknown => {
    let answer: unknown
    store.incr(key, (error, result) => { answer = error ?? result })
    return answer
  }
  assert.deepEqual([1, 2, 3, 4, 5].map(() => ask('a')), [
    { current: 1, ttl: 250 }, { current: 2, ttl: 500 }, { current: 3, ttl: 750 }, { current: 4, ttl: 1_000 }, { current: 5, ttl: 250 }
  ])
  assert.deepEqual(ask('b'), { current: 1, ttl: 250 })
  now = 250
  assert.deepEqual([ask('a'), ask('a')], [{ current: 4, ttl: 1_000 }, { current: 5, ttl: 250 }])
  assert.equal(store.child(), store)
})
