import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { checkBytes, checkCalm, checkStorm, grown, type Grown, type TransportTally } from '../../../autocannon/soak/books.ts'
import { CATALOGUE_BYTES, CIDS, MAX_SHARD_BYTES, VIDEOS, soakRequests } from '../../../autocannon/soak/catalogue.ts'
import { planStorm } from '../../../autocannon/soak/disturbances.ts'
import { isLeak, isTelling, trendOf, type Sample } from '../../../autocannon/soak/slope.ts'
import { parseMetrics } from '../../../autocannon/relay-counters.ts'
import { seededRandom } from '../../../demo/super-node/faults.ts'
import { syntheticShard } from '../../../demo/super-node/server.ts'
import { parseFaults } from '../../../demo/super-node/faults.ts'

const MB = 1_000_000

/** A heap at work: a saw of collections, noise, and now and then a burst. */
function heap (seconds: number, growthPerSecond: number, seed = 1): Sample[] {
  const random = seededRandom(seed)
  return Array.from({ length: seconds }, (_, second) => {
    const burst = random() < 0.05 ? 60 * MB * random() : 0
    return { seconds: second, bytes: 150 * MB + (second % 17) * MB + random() * 6 * MB + burst + growthPerSecond * second }
  })
}

suite('memory over time', () => {
  test('a heap at work is not a leak, and one that grows under it is', () => {
    for (let seed = 1; seed <= 10; seed++) {
      assert.equal(isLeak(trendOf(heap(240, 0, seed))), false, `seed ${seed}`)
      assert.equal(isLeak(trendOf(heap(240, 0.3 * MB, seed))), true, `seed ${seed}`)
    }
    assert.equal(isLeak(trendOf(heap(3_600, 0.02 * MB))), true)
  })

  test('the slope of a line is that of the line, and a third of outliers does not move it', () => {
    fc.assert(fc.property(fc.integer({ min: -1_000, max: 1_000 }), fc.integer({ min: 30, max: 900 }), fc.integer({ min: 3, max: 9 }), (slope, count, every) => {
      const line = Array.from({ length: count }, (_, second) => ({ seconds: second, bytes: 1e6 + slope * second }))
      assert.ok(Math.abs(trendOf(line).bytesPerSecond - slope) < 1e-6)
      const disturbed = line.map(({ seconds, bytes }, index) => ({ seconds, bytes: index % (every + 1) === every ? bytes + 1e9 : bytes }))
      const { bytesPerSecond } = trendOf(disturbed)
      assert.ok(Math.abs(bytesPerSecond - slope) < 1e6, `${bytesPerSecond}`)
    }), { numRuns: 20 })
  })

  test('too little says nothing', () => {
    for (const samples of [[], heap(1, MB), heap(59, 10 * MB)]) {
      const trend = trendOf(samples)
      assert.equal(isTelling(trend), false)
      assert.equal(isLeak(trend), false)
    }
    assert.equal(trendOf([]).bytesPerSecond, 0)
    assert.equal(isTelling(trendOf(heap(80, 0))), true)
  })
})

suite('the storm', () => {
  test('every kind of disturbance comes, within the time, and the same seed plans the same', () => {
    const options = { seconds: 12, nodes: 3, videos: VIDEOS, seed: 1 }
    assert.deepEqual(planStorm(options), planStorm(options))
    assert.notDeepEqual(planStorm(options), planStorm({ ...options, seed: 2 }))
    fc.assert(fc.property(fc.double({ min: 12, max: 3_000, noNaN: true }), fc.nat(), (seconds, seed) => {
      const plan = planStorm({ seconds, nodes: 3, videos: VIDEOS, seed })
      let last = 0
      for (const { atMs, disturbance } of plan) {
        assert.ok(atMs > last && atMs < seconds * 1_000)
        last = atMs
        if ('node' in disturbance) assert.ok(disturbance.node >= 0 && disturbance.node < 3)
        if ('faults' in disturbance) parseFaults(disturbance.faults)
        if ('video' in disturbance) assert.ok(CIDS[disturbance.video] !== undefined)
        if ('share' in disturbance) assert.ok(disturbance.share >= 0.3 && disturbance.share < 0.8)
      }
      if (seconds >= 60) assert.equal(new Set(plan.map(({ disturbance }) => disturbance.kind)).size, 6)
      assert.ok(plan.length >= 4 && plan.length <= seconds, `${plan.length}`)
    }), { numRuns: 50 })
  })

  test('what is asked for exists, and ranges lie within it', () => {
    assert.equal(CATALOGUE_BYTES, CIDS.reduce((sum, cid) => sum + 10 * syntheticShard(cid, 0).length, 0))
    fc.assert(fc.property(fc.nat(), seed => {
      const next = soakRequests(seed)
      for (let draw = 0; draw < 50; draw++) {
        const { cid, part, bytes, range } = next()
        assert.ok(CIDS.includes(cid) && part >= 0 && part < 10 && bytes <= MAX_SHARD_BYTES)
        if (range !== undefined) assert.ok(range.start >= 0 && range.start < range.end && range.end <= bytes)
      }
    }), { numRuns: 30 })
  })
})

suite('the books', () => {
  const tally = (ok: number, refused = 0, broken = 0, wrong = 0): TransportTally => ({ ok, okBytes: ok * 100, refused, broken, wrong })
  const counted: Grown = { hits: 20, misses: 9, failures: 1, httpRequests: 10, streams: 20, bytes: { http: 1_000, webtransport: 1_400, websocket: 1_000 } }
  const calm = { http: tally(10), webtransport: tally(10), websocket: tally(10) }

  test('a calm time balances to the last request', () => {
    assert.deepEqual(checkCalm(calm, counted), [])
    const changes: ReadonlyArray<readonly [typeof calm, Grown, RegExp]> = [
      [{ ...calm, http: tally(9) }, counted, /hits \+ misses \+ errors is 30, and must be 29/],
      [{ ...calm, http: tally(10, 0, 1) }, counted, /broke off is 1/],
      [calm, { ...counted, hits: 21 }, /hits \+ misses \+ errors/],
      [calm, { ...counted, streams: 19 }, /streams served is 19/],
      [calm, { ...counted, httpRequests: 11 }, /over HTTP is 11/],
      [calm, { ...counted, bytes: { ...counted.bytes, http: 1_001 } }, /bytes served over http is 1001/],
      [calm, { ...counted, bytes: { ...counted.bytes, websocket: 999 } }, /bytes served over websocket are 999/],
      [calm, { ...counted, bytes: { ...counted.bytes, webtransport: 100_000 } }, /webtransport are 100000/],
      [{ ...calm, websocket: tally(0, 10) }, counted, /nobody got anything over websocket/]
    ]
    for (const [tallies, counts, message] of changes) assert.ok(checkCalm(tallies, counts).some(fault => message.test(fault)), String(message))
  })

  test('a storm may lose what was in flight, and no more', () => {
    const storm = { http: tally(8, 1, 2), webtransport: tally(7, 1, 5), websocket: tally(9, 0, 3) }
    // 24 right, 2 refused, 10 broken: 24 to 36 were opened.
    const between: Grown = { hits: 15, misses: 12, failures: 3, httpRequests: 10, streams: 18, bytes: { http: 900 } }
    assert.deepEqual(checkStorm(storm, between, 200), [])
    const faults: ReadonlyArray<readonly [Grown, RegExp]> = [
      [{ ...between, hits: 11 }, /hits \+ misses is 23, and must be 24 to 36/],
      [{ ...between, failures: 10 }, /hits \+ misses \+ errors is 37/],
      [{ ...between, httpRequests: 8 }, /over HTTP is 8, and must be 9 to 11/],
      [{ ...between, httpRequests: 12 }, /over HTTP is 12/],
      [{ ...between, streams: 26 }, /streams served is 26, and must be 0 to 25/],
      [{ ...between, bytes: { http: 799 } }, /bytes served over HTTP is 799, and must be 800 to 1400/],
      [{ ...between, bytes: {} }, /bytes served over HTTP is 0/]
    ]
    for (const [counts, message] of faults) assert.ok(checkStorm(storm, counts, 200).some(fault => message.test(fault)), String(message))
  })

  test('wrong bytes are named by their transport', () => {
    assert.deepEqual(checkBytes(calm), [])
    assert.deepEqual(checkBytes({ ...calm, http: tally(10, 0, 0, 2) }), ['2 bodies with wrong bytes over http'])
  })

  test('what counters grew by', () => {
    const before = parseMetrics('icn_relay_cache_hits_total{tier="ram"} 1\nicn_relay_viewer_streams_total{transport="websocket",outcome="ok"} 2\n')
    const after = parseMetrics([
      'icn_relay_cache_hits_total{tier="ram"} 4', 'icn_relay_cache_hits_total{tier="disk"} 2', 'icn_relay_cache_misses_total{collapsed="true"} 3', 'icn_relay_open_failures_total{code="X"} 1',
      'icn_relay_viewer_http_request_duration_seconds_count{method="GET",route="/shards/*",status_code="200"} 5', 'icn_relay_viewer_http_request_duration_seconds_count{method="GET",route="/v1/transport",status_code="200"} 7',
      'icn_relay_viewer_streams_total{transport="websocket",outcome="ok"} 6', 'icn_relay_bytes_served_total{transport="http"} 11'
    ].join('\n'))
    assert.deepEqual(grown(before, after), { hits: 5, misses: 3, failures: 1, httpRequests: 5, streams: 4, bytes: { http: 11, webtransport: 0, websocket: 0 } })
  })
})
