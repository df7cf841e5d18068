import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { newHealth, orderNodes, recordFailure, recordSuccess, type Candidate } from '../../src/upstream/node-health.ts'

const policy = { initialMs: 1_000, maxMs: 60_000 }
const now = 1_000_000

const health = fc.record({
  failures: fc.nat(50),
  retryAt: fc.oneof(fc.constant(0), fc.integer({ min: now - 5_000, max: now + 60_000 })),
  latencyMs: fc.option(fc.double({ min: 0, max: 5_000, noNaN: true }), { nil: undefined })
})
const node = fc.record({ region: fc.constantFrom('NA-WEST', 'EU-WEST', 'APAC'), health })

test('the order is a permutation: up before down, own region first, then the fastest, unknown before known', () => {
  fc.assert(fc.property(fc.array(node, { maxLength: 12 }), fc.constantFrom('NA-WEST', 'EU-WEST', ''), (nodes, region) => {
    const before = [...nodes]
    const order = orderNodes(nodes, region, now)
    assert.deepEqual(nodes, before, 'the list itself stays')
    assert.equal(order.length, nodes.length)
    assert.deepEqual(new Set(order), new Set(nodes))
    const down = (candidate: Candidate): boolean => candidate.health.retryAt > now
    for (const [position, a] of order.entries()) {
      const b = order[position + 1]
      if (b === undefined) break
      assert.ok(!down(a) || down(b), 'up before down')
      if (down(a) !== down(b)) continue
      if (down(a)) {
        assert.ok(a.health.retryAt <= b.health.retryAt, 'of those in back-off, the next to return first')
        continue
      }
      assert.ok(a.region === region || b.region !== region, 'own region first')
      if ((a.region === region) === (b.region === region)) assert.ok((a.health.latencyMs ?? -1) <= (b.health.latencyMs ?? 0), 'fastest first')
    }
  }))
})

test('back-off doubles from the initial to the maximum, its upper half random, and never overflows', () => {
  fc.assert(fc.property(fc.nat(100_000), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), fc.double({ min: 0, max: 1e9, noNaN: true }), (failures, random, at) => {
    const state = { ...newHealth(), failures }
    recordFailure(state, at, random, policy)
    const expected = Math.min(60_000, 1_000 * 2 ** Math.min(failures, 30))
    const wait = state.retryAt - at
    assert.ok(wait >= expected * 0.5 - 1e-6 && wait <= expected + 1e-6, `${wait} ms after ${failures} failures`)
    assert.equal(state.failures, failures + 1)
  }))
})

test('a maximum below the initial pause is the pause', () => {
  const state = newHealth()
  recordFailure(state, 0, 0.999, { initialMs: 1_000, maxMs: 100 })
  assert.ok(state.retryAt <= 100)
})

test('one success ends a back-off', () => {
  const state = newHealth()
  for (let n = 0; n < 5; n++) recordFailure(state, now, 0.5, policy)
  recordSuccess(state, 10)
  assert.deepEqual(state, { failures: 0, retryAt: 0, latencyMs: 10 })
})

test('the smoothed latency stays within what was measured and follows a change', () => {
  fc.assert(fc.property(fc.array(fc.double({ min: 0, max: 10_000, noNaN: true }), { minLength: 1, maxLength: 50 }), samples => {
    const state = newHealth()
    for (const sample of samples) recordSuccess(state, sample)
    assert.ok((state.latencyMs ?? -1) >= Math.min(...samples) - 1e-6 && (state.latencyMs ?? Infinity) <= Math.max(...samples) + 1e-6)
  }))
  const state = newHealth()
  recordSuccess(state, 1_000)
  for (let n = 0; n < 20; n++) recordSuccess(state, 10)
  assert.ok((state.latencyMs ?? 0) < 25)
})
