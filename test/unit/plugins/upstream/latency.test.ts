import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { LATENCY_SAMPLES, LatencyEstimator } from '../../../../src/plugins/upstream/latency.ts'

const policy = { maxAgeMs: 60_000, minSamples: 10 }
const sample = fc.record({ ms: fc.oneof(fc.double({ min: 0, max: 10_000, noNaN: true }), fc.nat(5)), wait: fc.oneof(fc.nat(100), fc.nat(20_000)), read: fc.boolean() })

test('percentiles are those of a plain sort of the last samples that are young enough', () => {
  fc.assert(fc.property(fc.array(sample, { maxLength: 400, size: 'max' }), fc.nat(90_000), (samples, silence) => {
    const latency = new LatencyEstimator(policy)
    const all: { ms: number, at: number }[] = []
    let now = 0
    const check = (): void => {
      const young = all.slice(-LATENCY_SAMPLES).filter(({ at }) => now - at <= policy.maxAgeMs).map(({ ms }) => ms).sort((a, b) => a - b)
      const rank = (share: number): number | undefined => young.length < policy.minSamples ? undefined : young.find((_, index) => (index + 1) * 100 >= share * young.length)
      assert.equal(latency.size(now), young.length)
      assert.equal(latency.p50(now), rank(50))
      assert.equal(latency.p95(now), rank(95))
    }
    for (const { ms, wait, read } of samples) {
      now += wait
      latency.add(ms, now)
      all.push({ ms, at: now })
      if (read) check()
      assert.ok(latency.size(now) <= LATENCY_SAMPLES)
    }
    check()
    now += silence
    check()
    now += policy.maxAgeMs + 1
    assert.equal(latency.size(now), 0)
    assert.equal(latency.p50(now), undefined)
  }))
})

test('percentiles are undefined below the minimum of samples, even of none', () => {
  const latency = new LatencyEstimator(policy)
  for (let n = 1; n <= 10; n++) {
    assert.equal(latency.p95(0), undefined)
    latency.add(n, 0)
  }
  assert.deepEqual([latency.p50(0), latency.p95(0)], [5, 10])
  assert.equal(new LatencyEstimator({ maxAgeMs: 1, minSamples: 0 }).p50(0), undefined)
})

test('the smoothed latency stays within what was measured, follows a change and outlives the samples', () => {
  fc.assert(fc.property(fc.array(fc.double({ min: 0, max: 10_000, noNaN: true }), { minLength: 1, maxLength: 50 }), samples => {
    const latency = new LatencyEstimator(policy)
    for (const ms of samples) latency.add(ms, 0)
    assert.ok((latency.ewma ?? -1) >= Math.min(...samples) - 1e-6 && (latency.ewma ?? Infinity) <= Math.max(...samples) + 1e-6)
  }))
  const latency = new LatencyEstimator(policy)
  assert.equal(latency.ewma, undefined)
  latency.add(1_000, 0)
  for (let n = 0; n < 20; n++) latency.add(10, 0)
  assert.ok((latency.ewma ?? 0) < 25)
  assert.equal(latency.isStale(policy.maxAgeMs), false)
  assert.equal(latency.isStale(policy.maxAgeMs + 1), true)
  const before = latency.ewma
  latency.clear()
  assert.equal(latency.size(0), 0)
  assert.equal(latency.ewma, before)
  latency.add(7, 1)
  assert.equal(latency.size(1), 1)
})

test('what is not a duration is ignored', () => {
  const latency = new LatencyEstimator({ ...policy, minSamples: 1 })
  for (const ms of [NaN, Infinity, -Infinity, -1]) latency.add(ms, 0)
  assert.deepEqual([latency.ewma, latency.size(0), latency.isStale(1e9)], [undefined, 0, false])
})

test('adding costs the same with few samples and with many', () => {
  // A sort per sample would take seconds here.
  const latency = new LatencyEstimator(policy)
  const started = process.cpuUsage()
  for (let n = 0; n < 1_000_000; n++) latency.add(n % 1_000, n / 100)
  const { user } = process.cpuUsage(started)
  assert.ok(user < 2_000_000, `${user / 1_000} ms for a million samples`)
  assert.equal(latency.size(10_000), LATENCY_SAMPLES)
})
