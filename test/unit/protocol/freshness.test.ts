import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { planAnswer, type ObjectFacts, type Origin } from '../../../src/protocol/answer.ts'
import { freshnessOf, lifetimeMembers, type Lifetime } from '../../../src/protocol/freshness.ts'

const YEAR = 31_536_000_000
const lifetimes = fc.record({ ttlMs: fc.integer({ min: 1_000, max: YEAR }), staleWhileRevalidateMs: fc.integer({ min: 0, max: YEAR }), staleIfErrorMs: fc.integer({ min: 0, max: YEAR }) })
const times = fc.oneof(fc.integer({ min: 0, max: 2 ** 42 }), fc.double({ min: 0, max: 2 ** 43, noNaN: true }))

suite('how an object stands', () => {
  test('changes at its lifetime, at the end of what revalidation allows and at the end of what errors allow, to the millisecond', () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 42 }), lifetimes, (storedAt, lifetime) => {
      const { ttlMs, staleWhileRevalidateMs: revalidate, staleIfErrorMs: error } = lifetime
      const at = (ms: number): string => freshnessOf(storedAt, lifetime, storedAt + ms).standing
      assert.deepEqual([at(0), at(ttlMs - 1)], ['fresh', 'fresh'])
      assert.equal(at(ttlMs), revalidate === 0 ? 'expired' : 'stale')
      if (revalidate > 0) assert.equal(at(ttlMs + revalidate - 1), 'stale')
      assert.equal(at(ttlMs + revalidate), 'expired')
      if (error > 0) assert.equal(freshnessOf(storedAt, lifetime, storedAt + ttlMs + error - 1).ifError, true)
      assert.equal(freshnessOf(storedAt, lifetime, storedAt + ttlMs + error).ifError, false)
    }))
  })

  test('is never less fresh than later, whatever the times; what is left never exceeds the lifetime; a clock set back makes no exception', () => {
    const order = { fresh: 0, stale: 1, expired: 2 }
    fc.assert(fc.property(times, lifetimes, times, times, (storedAt, lifetime, a, b) => {
      const [first, then] = [Math.min(a, b), Math.max(a, b)].map(now => freshnessOf(storedAt, lifetime, now))
      assert.ok(first !== undefined && then !== undefined)
      assert.ok(order[first.standing] <= order[then.standing])
      assert.ok(first.ttlMs >= then.ttlMs && first.ttlMs <= lifetime.ttlMs)
      assert.ok(first.ifError || !then.ifError)
      for (const { standing, ttlMs, ifError } of [first, then]) {
        assert.equal(standing === 'fresh', ttlMs > 0)
        if (standing === 'fresh') assert.ok(ifError)
      }
    }))
  })
})

const facts = (origin: Origin, lifetime: Lifetime | undefined, more: Partial<ObjectFacts> = {}): ObjectFacts => ({ size: 10, sha256: 'ab', verified: true, lasting: true, lifetime, origin, ...more })

function answered (of: ObjectFacts, now: number, ifNoneMatch?: string): Record<string, string> {
  const { fields } = planAnswer({ method: 'GET', part: 'manifest', range: undefined, field: name => name === 'if-none-match' ? ifNoneMatch : undefined }, of, { now, openMs: 0, tokenRequired: false })
  return Object.fromEntries(fields)
}

suite('what answers say of it', () => {
  test('agrees: max-age less age is what ttl says, within the second to which they are rounded, and below 0 exactly when it is stale', () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 42 }), lifetimes, fc.integer({ min: -YEAR, max: 3 * YEAR }), (storedAt, lifetime, later) => {
      const now = Math.max(0, storedAt + later)
      const said = answered(facts({ hit: true, tier: 'disk', storedAt }, lifetime), now)
      const maxAge = Number(/max-age=(\d+)/.exec(said['cache-control'] ?? '')?.[1])
      const ttl = Number(/; ttl=(-?\d+)$/.exec(said['cache-status'] ?? '')?.[1])
      assert.ok(Math.abs(maxAge - Number(said['age']) - ttl) <= 2, JSON.stringify(said))
      assert.equal(ttl < 0, freshnessOf(storedAt, lifetime, now).standing !== 'fresh')
      assert.match(said['cache-control'] ?? '', /^public, max-age=\d+(, stale-while-revalidate=\d+)?(, stale-if-error=\d+)?$/)
    }))
  })

  test('in each case', () => {
    const lifetime = { ttlMs: 60_000, staleWhileRevalidateMs: 10_000, staleIfErrorMs: 999 }
    const hit = { hit: true, tier: 'ram', storedAt: 1_000 } as const
    const miss = { hit: false, collapsed: false, region: 'R', node: 'n', headMs: 1 } as const
    const said = (origin: Origin, now = 31_500, of: Partial<ObjectFacts> = {}): unknown[] => {
      const fields = answered(facts(origin, lifetime, of), now)
      return [fields['cache-status'], fields['cache-control'], fields['age']]
    }
    const control = 'public, max-age=60, stale-while-revalidate=10'
    assert.deepEqual(said(hit), ['icn-relay; hit; ttl=29', control, '30'])
    assert.deepEqual(said(hit, 61_000), ['icn-relay; hit; ttl=-1', control, '60'])
    assert.deepEqual(said(hit, 0), ['icn-relay; hit; ttl=60', control, '0'])
    assert.deepEqual(said({ ...hit, staleSince: 21_500 }), ['icn-relay; hit; ttl=-10', 'public, max-age=0, must-revalidate', '30'])
    assert.deepEqual(said({ ...hit, forwarded: { failed: undefined } }), ['icn-relay; fwd=stale; ttl=29', control, '30'])
    assert.deepEqual(said({ ...hit, forwarded: { failed: 'RELAY_ERR_UPSTREAM_TIMEOUT' } }, 71_000), ['icn-relay; fwd=stale; ttl=-10; detail=RELAY_ERR_UPSTREAM_TIMEOUT', control, '70'])
    assert.deepEqual(said({ ...miss, expired: true }), ['icn-relay; fwd=stale', control, undefined])
    assert.deepEqual(said({ ...miss, collapsed: true, expired: true }), ['icn-relay; fwd=stale; collapsed', control, undefined])
    assert.deepEqual(said(miss), ['icn-relay; fwd=uri-miss', control, undefined])
    assert.deepEqual(said(hit, 31_500, { verified: false }), ['icn-relay; hit; ttl=29', 'public, max-age=60', '30'])
    assert.deepEqual(said(hit, 31_500, { lasting: false })[1], 'no-store')
    assert.deepEqual(said(hit, 31_500, { lifetime: undefined }), ['icn-relay; hit', 'public, max-age=31536000, immutable', '30'])
    assert.equal(answered(facts(hit, { ...lifetime, ttlMs: 5_999 }, { verified: false }), 1_000)['cache-control'], 'public, max-age=5')
    const { 'cache-control': kept, age } = answered(facts(hit, lifetime), 31_500, '*')
    assert.deepEqual([kept, age], [control, '30'], 'a 304 says so too')
    assert.equal(lifetimeMembers({ ttlMs: 1_999, staleWhileRevalidateMs: 0, staleIfErrorMs: 604_800_000 }), 'max-age=1, stale-if-error=604800')
  })
})
