import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { NEGATIVE_ENTRIES, NegativeCache } from '../../../../src/plugins/upstream/negative-cache.ts'

test('a key is missing for the time to live and not a moment longer', () => {
  const cache = new NegativeCache({ ttlMs: 1_000 })
  cache.remember('a/0', 5)
  assert.equal(cache.isMissing('a/0', 5), true)
  assert.equal(cache.isMissing('a/0', 1_004.9), true)
  assert.equal(cache.isMissing('b/0', 5), false)
  assert.equal(cache.isMissing('a/0', 1_005), false)
  assert.equal(cache.size, 0, 'an expired key that was asked for is gone')
})

test('asking does not prolong it, being told again does', () => {
  const cache = new NegativeCache({ ttlMs: 1_000 })
  cache.remember('a', 0)
  for (let now = 0; now < 1_000; now += 100) assert.equal(cache.isMissing('a', now), true)
  assert.equal(cache.isMissing('a', 1_000), false)
  cache.remember('a', 1_000)
  cache.remember('a', 1_500)
  assert.equal(cache.isMissing('a', 2_400), true)
})

test('a time to live of 0 remembers nothing', () => {
  const cache = new NegativeCache({ ttlMs: 0 })
  cache.remember('a', 0)
  assert.equal(cache.size, 0)
  assert.equal(cache.isMissing('a', 0), false)
})

test('a flood of names holds no more than the bound', () => {
  const cache = new NegativeCache({ ttlMs: 1_000 })
  for (let n = 0; n < 3 * NEGATIVE_ENTRIES; n++) {
    cache.remember(`made-up-${n}/0`, 0)
    assert.ok(cache.size <= NEGATIVE_ENTRIES)
  }
  assert.equal(cache.size, NEGATIVE_ENTRIES)
  assert.equal(cache.isMissing(`made-up-${3 * NEGATIVE_ENTRIES - 1}/0`, 1), true)
  assert.equal(cache.isMissing('made-up-0/0', 1), false)
})

test('under any schedule: the bound holds, and what is missing was said to be so within the time to live and not purged since', () => {
  const keys = fc.constantFrom('a/0', 'a/1', 'b/0', 'b/manifest', 'c/0')
  const step = fc.oneof(
    fc.record({ do: fc.constant('remember' as const), key: keys }),
    fc.record({ do: fc.constant('ask' as const), key: keys }),
    fc.record({ do: fc.constant('purge' as const), prefix: fc.constantFrom('', 'a/', 'b/0') }),
    fc.record({ do: fc.constant('wait' as const), ms: fc.nat(600) })
  )
  fc.assert(fc.property(fc.array(step, { maxLength: 200, size: 'max' }), fc.integer({ min: 1, max: 5 }), (steps, maxEntries) => {
    const cache = new NegativeCache({ ttlMs: 1_000, maxEntries })
    const said = new Map<string, number>()
    let now = 0
    for (const action of steps) {
      if (action.do === 'wait') now += action.ms
      else if (action.do === 'remember') {
        cache.remember(action.key, now)
        said.set(action.key, now)
        assert.equal(cache.isMissing(action.key, now), true)
      } else if (action.do === 'purge') {
        const before = cache.size
        const purged = action.prefix === '' ? cache.purge() : cache.purge(key => key.startsWith(action.prefix))
        assert.equal(cache.size, before - purged)
        if (action.prefix === '') assert.equal(cache.size, 0)
        for (const key of [...said.keys()]) if (key.startsWith(action.prefix)) said.delete(key)
      } else {
        const young = now - (said.get(action.key) ?? -Infinity) < 1_000
        const missing = cache.isMissing(action.key, now)
        if (missing) assert.ok(young)
        // With room for every key, nothing is pushed out.
        else if (maxEntries === 5) assert.ok(!young)
      }
      assert.ok(cache.size <= maxEntries)
    }
  }))
})
