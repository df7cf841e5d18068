import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { mergedOutcome } from '../../../autocannon/viewers/fleet.ts'
import { Playback } from '../../../autocannon/viewers/playback.ts'
import { arrivals } from '../../../autocannon/viewers/schedule.ts'
import { Tally } from '../../../autocannon/viewers/viewer.ts'
import { seededRandom } from '../../../demo/super-node/faults.ts'

suite('schedules', () => {
  test('arrivals ascend, lie within the time, and are as many as the rate says', () => {
    fc.assert(fc.property(fc.constantFrom('poisson' as const, 'even' as const), fc.double({ min: 1, max: 500, noNaN: true }), fc.double({ min: 0.1, max: 20, noNaN: true }), fc.nat(), (kind, rate, seconds, seed) => {
      const times = arrivals(kind, rate, seconds, seededRandom(seed))
      let last = -1
      for (const at of times) {
        assert.ok(at >= 0 && at < seconds * 1_000 && at >= last)
        last = at
      }
      const expected = rate * seconds
      // An even schedule is exact to one; a Poisson count deviates by its root, and six of those never come.
      assert.ok(Math.abs(times.length - expected) <= (kind === 'even' ? 1 : 6 * Math.sqrt(expected) + 6), `${times.length} of ${expected}`)
    }))
  })

  test('gaps of a Poisson schedule are exponential: mean and deviation are both the gap', () => {
    const times = arrivals('poisson', 100, 200, seededRandom(3))
    const gaps = Array.from(times.subarray(1), (at, index) => at - (times[index] ?? 0))
    const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length
    const deviation = Math.sqrt(gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length)
    assert.ok(Math.abs(mean - 10) < 0.4 && Math.abs(deviation - 10) < 0.6, `${mean} ${deviation}`)
  })

  test('the same random numbers give the same schedule, whatever the server does meanwhile', () => {
    assert.deepEqual(arrivals('poisson', 50, 5, seededRandom(9)), arrivals('poisson', 50, 5, seededRandom(9)))
  })

  test('what is not a schedule, or none for a memory, is refused', () => {
    for (const [rate, seconds] of [[0, 1], [-1, 1], [NaN, 1], [1, 0], [1, NaN], [1e6, 1_000], [Infinity, 1]] as const) assert.throws(() => arrivals('even', rate, seconds, () => 0), RangeError)
  })
})

suite('playback', () => {
  test('starts with the first shard, asks when the store is below its target, freezes when it is empty', () => {
    const playback = new Playback(1_000, 4_000)
    assert.equal(playback.startupMs, undefined)
    assert.equal(playback.nextAt(1_100), 1_100)
    playback.delivered(1_250, 2_000)
    assert.equal(playback.startupMs, 250)
    // Two seconds in store, four wanted: immediately, and again.
    assert.equal(playback.nextAt(1_250), 1_250)
    playback.delivered(1_300, 2_000)
    playback.delivered(1_350, 2_000)
    // Dry at 1250 + 6000.
    assert.equal(playback.nextAt(1_350), 3_250)
    playback.delivered(7_750, 2_000)
    assert.deepEqual([playback.stalls, playback.stalledMs], [1, 500])
    assert.equal(playback.leave(8_750), 7_000)
    assert.deepEqual([playback.stalls, playback.stalledMs], [1, 500])
  })

  test('a viewer who leaves while the picture stands still saw that, too', () => {
    const playback = new Playback(0, 1_000)
    assert.equal(new Playback(0, 1_000).leave(500), 0)
    playback.delivered(100, 1_000)
    assert.equal(playback.leave(2_000), 1_000)
    assert.deepEqual([playback.stalls, playback.stalledMs], [1, 900])
  })

  test('time is spent starting, playing or standing still, and on nothing else', () => {
    fc.assert(fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 5_000 }), fc.integer({ min: 1, max: 4_000 })), { minLength: 1, maxLength: 40 }), fc.integer({ min: 0, max: 9_000 }), fc.integer({ min: 0, max: 10_000 }), (shards, after, target) => {
      const playback = new Playback(0, target)
      let now = 0
      for (const [wait, ms] of shards) {
        now += wait
        playback.delivered(now, ms)
        assert.ok(playback.nextAt(now) >= now)
      }
      const played = playback.leave(now + after)
      assert.equal((playback.startupMs ?? 0) + played + playback.stalledMs, now + after)
      assert.ok(playback.stalls <= shards.length)
      assert.ok(played <= shards.reduce((sum, [, ms]) => sum + ms, 0))
    }))
  })
})

suite('several processes', () => {
  test('what they measured adds up, and the busiest is the one that counts', () => {
    const tally = new Tally({ bytes: 10 })
    tally.gaveUp(2)
    tally.played(1_000, 50, 2, 300)
    tally.played(500, undefined, 0, 0)
    const one = { ...tally.outcome(), statuses: { 200: 3 }, requests: 3, bytes: 30, seconds: 2, lost: 1, cpuMs: 1_000, loopDelayP99Ms: 7 }
    const other = { ...new Tally({ bytes: 10 }).outcome(), statuses: { 200: 1, 503: 1 }, requests: 2, bytes: 10, seconds: 4, lost: 0, cpuMs: 3_000, loopDelayP99Ms: 3 }
    const { latency, firstByte, startup, ...merged } = mergedOutcome([one, other])
    assert.deepEqual(merged, {
      seconds: 4,
      requests: 5,
      statuses: { 200: 4, 503: 1 },
      unexpected: 0,
      errors: 2,
      errorTexts: ['requests were still waiting for their turn when the run was given up'],
      bytes: 40,
      stalls: 2,
      stalledMs: 300,
      viewersStalled: 1,
      playedMs: 1_500,
      lost: 1,
      generator: { processes: 2, cpuMs: 4_000, busiest: 0.75, loopDelayP99Ms: 7 }
    })
    assert.deepEqual([latency.count, firstByte.count, startup.count], [0, 0, 1])
  })

  test('kinds of errors are kept up to a bound', () => {
    const tally = new Tally({ bytes: 10 })
    for (let text = 0; text < 1_000; text++) tally.say(`error ${text}`)
    assert.equal(tally.outcome().errorTexts.length, 5)
  })
})
