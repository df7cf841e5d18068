import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { quantile, ratesBetween } from '../../../dashboard/src/model/rates.ts'
import { summary } from './summaries.ts'

suite('rates between two summaries', () => {
  const before = summary()

  test('are differences by the clock of the relay, and not by that of the page', () => {
    const rates = ratesBetween(before, summary({
      uptimeSeconds: 12,
      totals: { ...before.totals, sentBytes: { http: 3_000, websocket: 500 }, receivedBytes: { 'a:9002': 500, 'b:9002': 100 }, hits: { ram: 4, disk: 5 }, misses: 3, failures: { RELAY_ERR_NOT_FOUND: 4 }, limited: 2 },
      process: { rssBytes: 1, cpuSeconds: 2, gatewayCpuSeconds: 1.5 },
      firstByte: { bounds: [0.01, 0.1, 1], hits: [1, 102, 103, 103], misses: [0, 0, 1, 1] }
    }))
    assert.ok(rates !== undefined)
    const { sent, received, requests, failures, limited, hitRatio, offload, cpu, gatewayCpu, hitWait, missWait, seconds } = rates
    assert.deepEqual([seconds, sent, received, requests, failures, limited], [2, { http: 1_000, websocket: 250 }, { 'a:9002': 200, 'b:9002': 50 }, 6, 2, 1])
    assert.deepEqual([hitRatio, offload, cpu, gatewayCpu], [0.75, 0.8, 0.5, 0.25])
    assert.ok(hitWait !== null && Math.abs(hitWait - 0.0955) < 1e-9, 'straight between the bounds')
    assert.equal(missWait, null, 'none of late')
  })

  test('there are none over a restart, nor when no time has passed', () => {
    assert.equal(ratesBetween(before, summary({ startedAt: 2_000, uptimeSeconds: 20 })), undefined)
    assert.equal(ratesBetween(before, summary({ uptimeSeconds: 10 })), undefined)
    assert.equal(ratesBetween(before, summary({ uptimeSeconds: 1 })), undefined)
  })

  test('a node that is gone is not counted, and one that came back counts from nothing', () => {
    const gone = ratesBetween(before, summary({ uptimeSeconds: 11, totals: { ...before.totals, receivedBytes: {} } }))
    assert.deepEqual(gone?.received, {})
    const back = ratesBetween(before, summary({ uptimeSeconds: 11, totals: { ...before.totals, receivedBytes: { 'a:9002': 30 } } }))
    assert.deepEqual(back?.received, { 'a:9002': 30 })
  })

  test('without requests there is no ratio, and with more brought in than sent out the offload is below 0', () => {
    const idle = ratesBetween(before, summary({ uptimeSeconds: 11 }))
    assert.deepEqual([idle?.hitRatio, idle?.offload, idle?.requests], [null, null, 0])
    const warm = ratesBetween(before, summary({ uptimeSeconds: 11, totals: { ...before.totals, sentBytes: { http: 1_100 }, receivedBytes: { 'a:9002': 300 } } }))
    assert.equal(warm?.offload, -1)
  })

  test('whatever counters do, no rate is negative or no number', () => {
    const total = fc.double({ min: 0, max: 1e15, noNaN: true })
    const totals = fc.dictionary(fc.constantFrom('a', 'b', '__proto__', 'constructor'), total, { noNullPrototype: true })
    const counted = fc.record({ sentBytes: totals, receivedBytes: totals, hits: totals, misses: total, failures: totals, limited: total, evictions: total, logLinesDropped: total })
    fc.assert(fc.property(counted, counted, fc.double({ min: 0.001, max: 1e6, noNaN: true }), (one, other, seconds) => {
      const rates = ratesBetween(summary({ uptimeSeconds: 0, totals: one }), summary({ uptimeSeconds: seconds, totals: other }))
      assert.ok(rates !== undefined)
      for (const value of [...Object.values(rates.sent), ...Object.values(rates.received), rates.requests, rates.failures, rates.limited, rates.cpu]) assert.ok(value >= 0 && Number.isFinite(value))
      assert.ok(rates.hitRatio === null || (rates.hitRatio >= 0 && rates.hitRatio <= 1))
      assert.ok(rates.offload === null || rates.offload <= 1)
    }))
  })
})

suite('a quantile', () => {
  test('lies within the bucket that has it', () => {
    assert.equal(quantile(0.5, [1, 2], [0, 10, 10]), 1.5)
    assert.equal(quantile(0.5, [1, 2], [10, 10, 10]), 0.5)
    assert.equal(quantile(0.95, [1, 2], [0, 0, 10]), 2, 'beyond the last bound nothing else is known')
    assert.equal(quantile(0.95, [1, 2], [0, 0, 0]), null)
    assert.equal(quantile(0.95, [], []), null)
  })
})
