import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { Depth, PROBE_MS, ROUND } from '../../../../src/plugins/prefetch/depth.ts'

const settle = (depth: Depth, useful: boolean, times = ROUND, now = 0): void => { for (let n = 0; n < times; n++) depth.settled(useful, now) }

suite('the depth of prefetching', () => {
  test('stays within its bounds, changes by one at a time, after a round, and only as outcomes say', () => {
    const step = fc.record({ useful: fc.boolean(), ms: fc.integer({ min: 0, max: 20_000 }) })
    fc.assert(fc.property(fc.integer({ min: 1, max: 10 }), fc.integer({ min: 0, max: 10 }), fc.array(step, { maxLength: 300 }), (max, start, steps) => {
      const depth = new Depth(start, max)
      let now = 0
      let round: boolean[] = []
      for (const { useful, ms } of steps) {
        now += ms
        const before = depth.current
        depth.settled(useful, now)
        round.push(useful)
        const change = depth.current - before
        assert.ok(Math.abs(change) <= 1 && depth.current >= 0 && depth.current <= max)
        const share = round.filter(Boolean).length / round.length
        if (change !== 0 && before > 0) {
          assert.equal(round.length, ROUND)
          assert.ok(change > 0 ? share >= 0.75 : share < 0.5)
        }
        if (before === 0) assert.equal(change, useful ? 1 : 0)
        if (change !== 0 || round.length === ROUND || before === 0) round = []
      }
    }), { numRuns: 100 })
  })

  test('rises to the maximum while all are used, and falls to nothing while none is', () => {
    const depth = new Depth(2, 8)
    settle(depth, true, 6 * ROUND)
    assert.equal(depth.current, 8)
    settle(depth, true)
    assert.equal(depth.current, 8)
    settle(depth, false, 8 * ROUND)
    assert.equal(depth.current, 0)
  })

  test('at 0 allows one attempt in a while, and goes on from a useful one', () => {
    const depth = new Depth(1, 8)
    settle(depth, false, ROUND, 1_000)
    assert.equal(depth.allowed(1_000), 0)
    const asked = fc.array(fc.integer({ min: 0, max: 5_000 }), { minLength: 50, maxLength: 300 })
    fc.assert(fc.property(asked, pauses => {
      const idle = new Depth(0, 8)
      const times: number[] = []
      let now = 0
      for (const pause of pauses) {
        now += pause
        if (idle.allowed(now) === 0) continue
        assert.equal(idle.allowed(now), 1)
        idle.began(now)
        idle.settled(false, now)
        times.push(now)
      }
      for (const [n, at] of times.entries()) assert.ok(n === 0 || at - (times[n - 1] ?? 0) >= PROBE_MS)
    }), { numRuns: 25 })
    assert.equal(depth.allowed(1_000 + PROBE_MS), 1)
    depth.began(1_000 + PROBE_MS)
    assert.equal(depth.allowed(1_000 + PROBE_MS), 0)
    depth.settled(true, 1_000 + PROBE_MS)
    assert.equal(depth.current, 1)
    assert.equal(depth.allowed(1_000 + PROBE_MS), 1)
  })
})
