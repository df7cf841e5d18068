import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { MAX_STREAMS, startCount } from '../../../client/src/session-count.ts'
import type { Sample, SessionCount } from '../../../client/src/session-count.ts'
import { MAX_SESSIONS, SAMPLE_MS, headroom, nextCount, sampleMs, sessionRefused } from '../../../client/src/session-steps.ts'
import { TransportMemory } from '../../../client/src/transport-memory.ts'
import { NO_TRIAL_YET, afterTry, isBetter, mayTry, nextComparison, startComparison } from '../../../client/src/transport-trial.ts'
import type { Comparison } from '../../../client/src/transport-trial.ts'

const MB = 1_000_000

/** A path that gives so many bytes per millisecond with so many sessions. */
type Path = (sessions: number, now: number) => number

interface Walk { readonly state: SessionCount, readonly changes: number, readonly most: number, readonly least: number }

/** Samples of a client that always has so many bytes to come, `open` following the target one sample later. */
function walk (seconds: number, path: Path, outstanding: (now: number) => number, from = startCount(0, true), begin = 0): Walk {
  let [state, open, changes, most, least] = [from, from.target, 0, from.target, from.target]
  for (let now = begin + SAMPLE_MS; now <= begin + seconds * 1000; now += SAMPLE_MS) {
    const outstandingBytes = outstanding(now)
    const isBusy = outstandingBytes > 0
    const sample: Sample = { now, spanMs: SAMPLE_MS, busyMs: isBusy ? SAMPLE_MS : 0, bytes: isBusy ? path(open, now) * SAMPLE_MS : 0, outstandingBytes, streams: isBusy ? 1 : 0, open, working: isBusy ? open : 0, limitBps: undefined }
    open = state.target
    const next = nextCount(state, sample)
    if (next.target !== state.target) changes++
    most = Math.max(most, next.target)
    least = Math.min(least, next.target)
    state = next
  }
  return { state, changes, most, least }
}

suite('number of sessions', () => {
  test('on a path where each session is slow there are eight within three seconds, and they stay', () => {
    // 30 ms and 1 % loss: some 0.7 MB/s a session.
    const { state, changes } = walk(3, sessions => sessions * 700, () => 30 * MB)
    assert.deepEqual([state.target, changes], [8, 2])
    const later = walk(600, sessions => sessions * 700, () => 30 * MB, state, 3000)
    assert.deepEqual([later.state.target, later.changes], [8, 0])
  })

  test('where more sessions bring nothing they are given back, and tried ever more seldom', () => {
    const path: Path = () => 1_000
    const hour = walk(3600, path, () => 30 * MB)
    assert.equal(hour.state.target, 1)
    // 10, 20, 40, 80, 160, 320 and then 600 s between tries, two changes each.
    assert.ok(hour.changes >= 4 && hour.changes <= 24, `${hour.changes} changes`)
    assert.equal(hour.most, 4)
  })

  test('a fast path never has more than one, however much is fetched at the same time', () => {
    const { changes } = walk(600, () => 100_000, () => 16 * MB)
    assert.equal(changes, 0)
  })

  test('a path that is still finding its rate is left alone', () => {
    // Slow start: twice as much with every sample, up to 12 MB/s.
    const { changes } = walk(60, (_sessions, now) => Math.min(12_000, 100 * 2 ** (now / SAMPLE_MS)), () => 10 * MB)
    assert.equal(changes, 0)
  })

  test('what the relay grants the viewer is not asked for several times over', () => {
    let state = startCount(0, true)
    for (let now = SAMPLE_MS; now < 60_000; now += SAMPLE_MS) {
      state = nextCount(state, { now, spanMs: SAMPLE_MS, busyMs: SAMPLE_MS, bytes: 200 * SAMPLE_MS, outstandingBytes: 10 * MB, streams: 4, open: state.target, working: state.target, limitBps: 1_660_000 })
      assert.equal(state.target, 1)
    }
  })

  test('answers that wait in a queue are not a reason for more sessions, and those there are go when it is long', () => {
    const queued = (waitMs: number | undefined): Partial<Sample> => ({ tripMs: 30, waitMs })
    const run = (seconds: number, extra: (now: number) => Partial<Sample>, from = startCount(0, true), begin = 0): SessionCount => {
      let state = from
      for (let now = begin + SAMPLE_MS; now <= begin + seconds * 1000; now += SAMPLE_MS) {
        state = nextCount(state, { now, spanMs: SAMPLE_MS, busyMs: SAMPLE_MS, bytes: state.target * 700 * SAMPLE_MS, outstandingBytes: 30 * MB, streams: 4, open: state.target, working: state.target, limitBps: undefined, ...extra(now) })
      }
      return state
    }
    assert.equal(run(60, () => queued(70)).target, 1)
    // Nothing is known between two answers.
    assert.equal(run(60, now => queued(now < 2 * SAMPLE_MS ? 70 : undefined)).target, 1)
    const alone = run(5, () => queued(35))
    assert.equal(alone.target, 8)
    assert.equal(run(5, () => queued(250), alone, 5000).target, 8, 'what eight of its own may queue is not a reason')
    assert.equal(run(2, () => queued(400), alone, 5000).target, 1)
    assert.equal(run(1, () => queued(400), alone, 5000).target, 8)
  })

  test('what is late by a little has to be so for two seconds', () => {
    // 1 MB at 0.7 MB/s, one after the other, as a player that fills its buffer.
    assert.equal(walk(2, sessions => sessions * 700, () => MB).changes, 0)
    assert.equal(walk(10, sessions => sessions * 700, now => now % 2000 < SAMPLE_MS ? 0.1 * MB : MB).changes, 0)
    assert.ok(walk(4, sessions => sessions * 700, () => MB).state.target > 1)
  })

  test('what the rate of one among many may rise to by chance does not pay for four sessions', () => {
    const { state, most } = walk(60, sessions => sessions > 1 ? 1_000 : 650, () => 30 * MB)
    assert.deepEqual([state.target, most], [1, 4])
  })

  test('an answer that has come to a halt is not a slow path', () => {
    assert.equal(walk(60, () => 0, () => 8 * MB).changes, 0)
  })

  test('single reads that come quickly do not count, nor does a transport that gains nothing from sessions', () => {
    // One shard of 1 MB a second, done in 100 ms of it.
    const quick = walk(600, () => 10_000, now => now % 1000 < SAMPLE_MS ? 0.5 * MB : 0)
    assert.equal(quick.changes, 0)
    const http = walk(60, () => 100, () => 30 * MB, startCount(0, false))
    assert.equal(http.changes, 0)
    assert.ok(http.state.lateSince !== undefined)
  })

  test('sessions are given back some time after they were needed last, and kept longer the next time', () => {
    const slow: Path = sessions => sessions * 700
    const busy = walk(5, slow, () => 30 * MB)
    const idle = walk(11, slow, () => 0, busy.state, 5000)
    assert.deepEqual([busy.state.target, idle.state.target, idle.changes], [8, 1, 1])
    const again = walk(2, slow, () => 30 * MB, idle.state, 16_000)
    assert.deepEqual([again.state.target, again.changes], [8, 1], 'what proved right is not found out again')
    assert.equal(walk(15, slow, () => 0, again.state, 18_000).state.target, 8)
    assert.equal(walk(25, slow, () => 0, again.state, 18_000).state.target, 1)
  })

  test('streams beyond those of one session are a reason by themselves', () => {
    const sample = { spanMs: 0, busyMs: 0, bytes: 0, outstandingBytes: 0, open: 1, working: 0, limitBps: undefined }
    for (const [streams, sessions] of [[0, 1], [MAX_STREAMS, 1], [MAX_STREAMS + 1, 2], [200, 3], [10_000, MAX_SESSIONS]] as const) {
      assert.equal(nextCount(startCount(0, true), { ...sample, now: 1, streams }).target, sessions)
    }
    const many = nextCount(startCount(0, true), { ...sample, now: 1, streams: 200 })
    assert.equal(nextCount(many, { ...sample, now: 5_000, streams: 0 }).target, 3)
    assert.equal(nextCount(many, { ...sample, now: 10_002, streams: 0 }).target, 1)
    const refused = sessionRefused(many, 10, 1, 20_000)
    assert.equal(refused.target, 1)
    assert.equal(nextCount(refused, { ...sample, now: 15_000, streams: 200 }).target, 1)
    assert.equal(nextCount(refused, { ...sample, now: 20_011, streams: 200 }).target, 3)
  })

  test('samples are as long as the path asks for, and what sessions may still bring is known at the end', () => {
    assert.deepEqual([undefined, 30, 133, 300, 5_000].map(sampleMs), [200, 200, 200, 450, 1_000])
    const slow = walk(3, sessions => sessions * 700, () => 30 * MB)
    const vain = walk(4, () => 1_000, () => 30 * MB)
    assert.deepEqual([headroom(startCount(0, true), 0, 1), headroom(startCount(0, true), 0, 4), headroom(startCount(0, false), 0, 1), headroom(slow.state, 3_000, 8), headroom(vain.state, 4_000, 1)], [8, 2, 1, 8 / 8, 1])
  })

  test('whatever comes, there are one to eight, and few changes', () => {
    const step = fc.record({ bytes: fc.integer({ min: 0, max: 10 * MB }), outstanding: fc.integer({ min: 0, max: 100 * MB }), streams: fc.integer({ min: 0, max: 2000 }), refused: fc.boolean(), open: fc.integer({ min: 1, max: 8 }), working: fc.integer({ min: 0, max: 8 }), busy: fc.double({ min: 0, max: 1, noNaN: true }) })
    fc.assert(fc.property(fc.array(step, { minLength: 1, maxLength: 400, size: 'max' }), steps => {
      let state = startCount(0, true)
      for (const [index, { bytes, outstanding, streams, refused, open, working, busy }] of steps.entries()) {
        const now = index * SAMPLE_MS
        state = refused && index % 7 === 0 ? sessionRefused(state, now, open, 0) : nextCount(state, { now, spanMs: SAMPLE_MS, busyMs: busy * SAMPLE_MS, bytes, outstandingBytes: outstanding, streams, open, working, limitBps: undefined })
        assert.ok(Number.isInteger(state.target) && state.target >= 1 && state.target <= MAX_SESSIONS)
        assert.ok(state.rates.length <= 2 && (state.trial?.rates.length ?? 0) <= 5)
      }
    }))
  })

  test('noise does not make it flap: at most sixty changes an hour of ever new bursts', () => {
    fc.assert(fc.property(fc.array(fc.double({ min: 0.2, max: 5, noNaN: true }), { minLength: 50, maxLength: 50 }), fc.integer({ min: 50, max: 5_000 }), fc.double({ min: 0, max: 1, noNaN: true }), (noise, rate, gain) => {
      let turn = 0
      const { changes, most, least } = walk(3600, sessions => rate * (1 + gain * (sessions - 1)) * (noise[turn++ % noise.length] ?? 1), now => now % 40_000 < 30_000 ? 20 * MB : 0)
      assert.ok(changes <= 60 && most <= MAX_SESSIONS && least >= 1, `${changes} changes`)
    }), { numRuns: 60 })
  })
})

suite('choice of the transport', () => {
  test('a transport that did badly comes last for a while, longer each time, and says why', () => {
    const memory = new TransportMemory()
    const all = ['webtransport', 'websocket', 'http'] as const
    const names = (now: number): string[] => memory.order('https://a', all, now).map(({ transport }) => transport)
    memory.demote('https://a', 'webtransport', 'silent', 0)
    for (let request = 0; request < 8; request++) memory.demote('https://a', 'webtransport', 'silent too', request)
    assert.deepEqual(memory.order('https://a', all, 1).at(-1), { transport: 'webtransport', demoted: 'silent' })
    assert.deepEqual([names(599_999), names(600_000)], [['websocket', 'http', 'webtransport'], [...all]])
    assert.deepEqual([memory.changesAt('https://a', 1), memory.changesAt('https://a', 600_000), memory.changesAt('https://b', 1)], [600_000, undefined, undefined])
    memory.demote('https://a', 'webtransport', 'silent', 700_000)
    assert.equal(names(1_899_999)[0], 'websocket')
    assert.equal(names(1_900_000)[0], 'webtransport')
    assert.deepEqual(memory.order('https://b', all, 1).map(({ demoted }) => demoted), [undefined, undefined, undefined])
  })

  test('a bounded number of relays is remembered', () => {
    const memory = new TransportMemory()
    for (let relay = 0; relay < 1000; relay++) memory.demote(`https://${relay}`, 'webtransport', 'silent', relay)
    assert.equal(memory.size, 64)
  })

  test('another transport is tried after two samples, ever more seldom, and taken when it is half as fast again', () => {
    assert.deepEqual([mayTry(NO_TRIAL_YET, undefined, 9000), mayTry(NO_TRIAL_YET, 0, 399), mayTry(NO_TRIAL_YET, 0, 400)], [false, false, true])
    let [state, tries] = [NO_TRIAL_YET, 0]
    for (let now = 0; now < 3_600_000; now += SAMPLE_MS) {
      if (!mayTry(state, 0, now)) continue
      tries++
      state = afterTry(state, now)
    }
    assert.ok(tries >= 5 && tries <= 8, `${tries} tries in an hour`)
    assert.deepEqual([isBetter(149, 100), isBetter(150, 100), isBetter(0, 0)], [false, true, false])
  })

  /** Samples until it is decided, after how many milliseconds that was, and how. */
  function compare (before: number, own: number, other: number, { busy = () => true, room = () => 1, tripMs = 0 }: { busy?: (now: number) => boolean, room?: (now: number) => number, tripMs?: number } = {}): { better: boolean | undefined, afterMs: number } {
    let state: Comparison = startComparison(0, before)
    let now = 0
    while (state.better === undefined && now < 60_000) {
      now += SAMPLE_MS
      state = nextComparison(state, { now, spanMs: SAMPLE_MS, own: { bytes: own * SAMPLE_MS, isBusy: true }, other: { bytes: busy(now) ? other * SAMPLE_MS : 0, isBusy: busy(now) }, headroom: room(now), tripMs })
    }
    return { better: state.better, afterMs: now }
  }

  test('two transports are compared by a second of work, against both what the first one gives now and what it gave alone', () => {
    assert.deepEqual(compare(1_000, 1_000, 1_500), { better: true, afterMs: 1_000 })
    assert.equal(compare(1_000, 1_000, 1_499).better, false)
    assert.equal(compare(1_000, 400, 600).better, false, 'they share what the path can carry')
    assert.equal(compare(700, 5_600, 2_000).better, false, 'more sessions have made the first one faster meanwhile')
    // Half a second of work every two seconds.
    assert.deepEqual(compare(1_000, 1_000, 9_000, { busy: now => now % 2_000 < 500 }), { better: true, afterMs: 2_400 })
    assert.deepEqual(compare(1_000, 1_000, 9_000, { busy: () => false }), { better: false, afterMs: 10_000 })
    // One session of eight that there may be: not before it shows what they bring, unless the other one is faster than they can be.
    assert.deepEqual(compare(1_000, 1_000, 2_000, { room: now => now < 3_000 ? 8 : 1 }), { better: true, afterMs: 3_000 })
    assert.deepEqual(compare(1_000, 1_000, 12_000, { room: () => 8 }), { better: true, afterMs: 1_000 })
    assert.deepEqual(compare(1_000, 1_000, 2_000, { room: () => 8 }), { better: true, afterMs: 10_000 })
    assert.deepEqual(compare(1_000, 1_000, 2_000, { tripMs: 300 }), { better: true, afterMs: 3_600 }, 'a connection starts slowly on a long path')
    assert.equal(nextComparison(startComparison(0, 1), { now: 1, spanMs: 1, own: { bytes: 0, isBusy: false }, other: undefined, headroom: 1, tripMs: 0 }).better, false, 'its connection is gone')
  })

  test('whatever comes, it is decided within ten seconds, once, and never for one that is not half as fast again as before', () => {
    const flow = fc.record({ bytes: fc.integer({ min: 0, max: 10 * MB }), isBusy: fc.boolean() })
    fc.assert(fc.property(fc.integer({ min: 0, max: 50_000 }), fc.array(fc.record({ own: flow, headroom: fc.integer({ min: 1, max: 8 }), tripMs: fc.constant(0), other: fc.option(flow, { nil: undefined, freq: 20 }) }), { minLength: 60, maxLength: 60 }), (before, samples) => {
      let state: Comparison = startComparison(0, before)
      for (const [index, sample] of samples.entries()) {
        const next = nextComparison(state, { now: (index + 1) * SAMPLE_MS, spanMs: SAMPLE_MS, ...sample })
        if (state.better !== undefined) assert.equal(next, state)
        state = next
      }
      assert.ok(state.better !== undefined && (!state.better || state.other.bytes >= state.other.ms * before * 1.5))
    }))
  })
})
