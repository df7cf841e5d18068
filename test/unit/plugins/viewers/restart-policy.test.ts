import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { countEarly, DEFAULT_RESTART_POLICY, restartDelay, type RestartPolicy } from '../../../../src/plugins/viewers/restart-policy.ts'

const policies: fc.Arbitrary<RestartPolicy> = fc.record({
  initialMs: fc.integer({ min: 1, max: 1_000 }),
  maxMs: fc.integer({ min: 1_000, max: 100_000 }),
  healthyMs: fc.integer({ min: 1, max: 100_000 })
})

test('pauses stay within the bounds, never shrink in a crash loop, and start over after a healthy life', () => {
  fc.assert(fc.property(policies, fc.array(fc.integer({ min: 0, max: 200_000 }), { maxLength: 100 }), (policy, lives) => {
    let early = 0
    let before = 0
    for (const lived of lives) {
      const delay = restartDelay(early, policy)
      assert.ok(delay <= policy.maxMs)
      if (early > 0) assert.ok(delay >= Math.max(before, policy.initialMs), `${delay} after ${before}`)
      else assert.equal(delay, 0)
      before = delay
      early = countEarly(early, lived, policy)
      if (lived >= policy.healthyMs) assert.equal(early, 0)
    }
  }))
})

test('a crash loop reaches the longest pause, and no number of crashes goes beyond', () => {
  let early = 0
  for (let crash = 0; crash < 5_000; crash++) early = countEarly(early, 0, DEFAULT_RESTART_POLICY)
  assert.equal(restartDelay(early, DEFAULT_RESTART_POLICY), DEFAULT_RESTART_POLICY.maxMs)
})

test('the first two restarts leave time for viewers to be back within two seconds', () => {
  assert.ok(restartDelay(0, DEFAULT_RESTART_POLICY) === 0 && restartDelay(1, DEFAULT_RESTART_POLICY) <= 200)
})
