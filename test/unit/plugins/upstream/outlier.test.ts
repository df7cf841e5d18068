import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { DEFAULT_OUTLIER_POLICY, ejectOutliers, isEjected, newEjection, type OutlierPolicy, type Performance } from '../../../../src/plugins/upstream/outlier.ts'

const policy: OutlierPolicy = { ...DEFAULT_OUTLIER_POLICY, minRequests: 20, initialMs: 30_000, maxMs: 300_000 }

function node (rate: number, p50?: number, rest: Partial<Performance> = {}): Performance {
  return { region: 'EU-WEST', usable: true, good: Math.round(rate * 100), bad: Math.round((1 - rate) * 100), p50, ejection: newEjection(), ...rest }
}

suite('who is an outlier', () => {
  test('the success rate: far below the others, with enough requests, by more than the margin', () => {
    const cases: [label: string, nodes: Performance[], ejected: number[]][] = [
      ['all good', [node(1), node(1), node(1)], []],
      ['one of two', [node(1), node(0.5)], [1]],
      ['one of three', [node(0.99), node(0.6), node(1)], [1]],
      ['too few requests', [node(1), node(1), node(0, undefined, { good: 0, bad: 19 })], []],
      ['just enough requests', [node(1), node(1), node(0, undefined, { good: 0, bad: 20 })], [2]],
      ['within the margin of equals', [node(1), node(1), node(0.91)], []],
      ['within the spread of the others', [node(1), node(0.7), node(0.95), node(0.65)], []],
      ['nobody to compare with', [node(0)], []],
      ['all bad', [node(0.1), node(0.1), node(0.1)], []],
      ['the only other is not asked', [node(0), node(1, undefined, { usable: false })], []]
    ]
    for (const [label, nodes, ejected] of cases) {
      assert.deepEqual(ejectOutliers(nodes, 1_000, policy), ejected.map(n => nodes[n]), label)
      nodes.forEach((each, n) => { assert.equal(isEjected(each.ejection, 1_000), ejected.includes(n), label) })
    }
  })

  test('the latency: a multiple of the median of the others and far above it', () => {
    const cases: [label: string, nodes: Performance[], ejected: number[]][] = [
      ['one slow', [node(1, 50), node(1, 60), node(1, 400)], [2]],
      ['a multiple, but nobody notices', [node(1, 5), node(1, 6), node(1, 90)], []],
      ['far above, but no multiple', [node(1, 300), node(1, 310), node(1, 800)], []],
      ['no samples', [node(1, 50), node(1), node(1, 60)], []],
      ['nobody to compare with', [node(1, 5_000), node(1)], []],
      ['far away is not a fault', [node(1, 20), node(1, 25), node(1, 300, { region: 'APAC' })], []],
      ['slow in its own region', [node(1, 20), node(1, 900, { region: 'APAC' }), node(1, 200, { region: 'APAC' })], [1]]
    ]
    for (const [label, nodes, ejected] of cases) assert.deepEqual(ejectOutliers(nodes, 1_000, policy), ejected.map(n => nodes[n]), label)
  })

  test('the worst go first, failing ones before slow ones', () => {
    const nodes = [node(1, 50), node(1, 60), node(1, 55), node(1, 5_000), node(0.2, 50), node(0.85, 50)]
    const ejected = (maxPercent: number) => ejectOutliers(nodes.map(each => ({ ...each, ejection: newEjection() })), 0, { ...policy, deviations: 0, maxPercent }).map(({ good, p50 }) => [good, p50])
    assert.deepEqual(ejected(17), [[20, 50]])
    assert.deepEqual(ejected(34), [[20, 50], [100, 5_000]])
    assert.deepEqual(ejected(16), [])
    assert.deepEqual(ejected(0), [])
  })
})

test('ejections grow with repeats up to the longest, and start over after as long a time without one', () => {
  const bad = node(0.1)
  const nodes = [node(1), node(1), bad]
  let now = 1_000
  const times: number[] = []
  for (let n = 0; n < 50; n++) {
    assert.deepEqual(ejectOutliers(nodes, now, policy), [bad])
    assert.deepEqual(ejectOutliers(nodes, now, policy), [], 'not twice')
    times.push(bad.ejection.until - now)
    now = bad.ejection.until
  }
  assert.deepEqual(times.slice(0, 6), [30_000, 60_000, 120_000, 240_000, 300_000, 300_000])
  assert.ok(times.every(time => time <= policy.maxMs))
  now += policy.maxMs
  ejectOutliers(nodes, now, policy)
  assert.equal(bad.ejection.until - now, 30_000)
})

test('under any schedule: never the last usable node, never more than the share, only usable ones, for a bounded time', () => {
  const performance = fc.record({
    region: fc.constantFrom('EU-WEST', 'APAC'),
    usable: fc.boolean(),
    good: fc.nat(200),
    bad: fc.nat(200),
    p50: fc.option(fc.double({ min: 0, max: 10_000, noNaN: true }), { nil: undefined })
  })
  const policies = fc.record({
    maxPercent: fc.integer({ min: 0, max: 100 }),
    minRequests: fc.nat(50),
    deviations: fc.double({ min: 0, max: 3, noNaN: true }),
    successMargin: fc.double({ min: 0, max: 0.5, noNaN: true }),
    latencyFactor: fc.double({ min: 1, max: 5, noNaN: true }),
    latencyMarginMs: fc.nat(500),
    initialMs: fc.integer({ min: 1, max: 30_000 }),
    maxMs: fc.integer({ min: 30_000, max: 300_000 })
  })
  const rounds = fc.integer({ min: 1, max: 8 }).chain(size => fc.array(fc.tuple(fc.nat(60_000), fc.array(performance, { minLength: size, maxLength: size })), { minLength: 1, maxLength: 20, size: 'max' }))
  fc.assert(fc.property(policies, rounds, (limits, schedule) => {
    const ejections = Array.from({ length: 8 }, newEjection)
    let now = 1
    for (const [wait, performances] of schedule) {
      now += wait
      const nodes = performances.map((each, n) => ({ ...each, ejection: ejections[n] ?? newEjection() }))
      const asked = nodes.filter(each => each.usable && !isEjected(each.ejection, now))
      const ejected = ejectOutliers(nodes, now, limits)
      for (const each of ejected) {
        assert.ok(asked.includes(each))
        const time = each.ejection.until - now
        assert.ok(time >= limits.initialMs - 1e-6 && time <= limits.maxMs + 1e-6)
      }
      assert.ok(ejected.length === 0 || ejected.length < asked.length, 'one usable node is left')
      if (ejected.length > 0) assert.ok(nodes.filter(each => isEjected(each.ejection, now)).length <= nodes.length * limits.maxPercent / 100)
    }
  }), { numRuns: 500 })
})
