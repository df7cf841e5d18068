import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { isWorse, OVERLOAD_STATES, type OverloadState } from '../../../../src/channel/overload-states.ts'
import { defaultConfig } from '../../../../src/config/config.ts'
import { Latch, type LatchPolicy, type Threshold } from '../../../../src/plugins/overload/latch.ts'
import { MAX_TRANSITIONS, Overload, type OverloadPolicy, type OverloadTransition } from '../../../../src/plugins/overload/overload.ts'
import { OVERLOAD_SIGNALS, signalThresholds, type OverloadSample, type OverloadSignal } from '../../../../src/plugins/overload/signals.ts'

const SAMPLE_MS = 500
const HOLD = { degraded: 10_000, shedding: 5_000 }
const POLICY: OverloadPolicy = { thresholds: signalThresholds(defaultConfig().overload), enterSamples: 3, windowSamples: 5, holdMs: HOLD }
const rank = (state: OverloadState): number => OVERLOAD_STATES.indexOf(state)

/** Feeds one signal every half second; returns the state after each sample. */
function run (overload: Overload, signal: OverloadSignal, values: readonly number[], start = 0): OverloadState[] {
  return values.map((value, position) => {
    const now = start + position * SAMPLE_MS
    overload.sample({ [signal]: value }, now, now)
    return overload.state
  })
}

const repeat = (value: number, times: number): number[] => Array.from({ length: times }, () => value)

suite('overload', () => {
  test('three bad samples of five enter, each level by its own threshold; a long turn or two do not', () => {
    assert.deepEqual(run(new Overload(POLICY, 0), 'event_loop_delay', [160, 0, 160, 0, 0, 0, 160, 0, 0, 160, 0]), repeat(0, 11).map(() => 'normal'))
    assert.deepEqual(run(new Overload(POLICY, 0), 'event_loop_delay', [160, 0, 160, 0, 160]), ['normal', 'normal', 'normal', 'normal', 'degraded'])
    assert.deepEqual(run(new Overload(POLICY, 0), 'event_loop_delay', [600, 600, 600]), ['normal', 'normal', 'shedding'])
    assert.deepEqual(run(new Overload(POLICY, 0), 'event_loop_delay', [200, 600, 200, 600, 200]), ['normal', 'normal', 'degraded', 'degraded', 'degraded'])
  })

  test('shedding ends after 5 calm seconds, degraded after 10, and a sample between the thresholds starts that time over', () => {
    const overload = new Overload(POLICY, 0)
    run(overload, 'fills', repeat(1, 3))
    assert.equal(overload.state, 'shedding')
    const states = run(overload, 'fills', repeat(0, 22), 10_000)
    assert.equal(states.lastIndexOf('shedding'), 9, '5 s are 10 samples, the first of which begins them')
    assert.equal(states.lastIndexOf('degraded'), 19)
    assert.equal(overload.state, 'normal')
    run(overload, 'fills', repeat(0.85, 3), 30_000)
    const again = run(overload, 'fills', [...repeat(0, 15), 0.75, ...repeat(0, 21)], 40_000)
    assert.equal(again.lastIndexOf('degraded'), 15 + 20)
  })

  test('another policy counts from the next sample on, and what was seen stays', () => {
    const overload = new Overload(POLICY, 0)
    run(overload, 'event_loop_delay', [100, 100, 100, 100])
    assert.equal(overload.state, 'normal')
    const thresholds = signalThresholds({ ...defaultConfig().overload, degraded_delay_ms: 90 })
    overload.change({ thresholds, enterSamples: 2, windowSamples: 2, holdMs: { degraded: 1_000, shedding: 1_000 } })
    assert.deepEqual(run(overload, 'event_loop_delay', [100, 100, 0, 0, 0], 2_000), ['normal', 'degraded', 'degraded', 'degraded', 'normal'])
    assert.equal(overload.signals()[0]?.thresholds.degraded.enter, 90)
  })

  test('the worst signal decides and is the reason, also of the way back', () => {
    const overload = new Overload(POLICY, 7)
    const seen: OverloadTransition[] = []
    const unsubscribe = overload.onChange(transition => { seen.push(transition) })
    assert.deepEqual([overload.state, overload.since, overload.reason], ['normal', 7, undefined])
    const sample = (now: number, values: OverloadSample): void => { overload.sample(values, now, 1_000_000 + now) }
    for (const now of [0, 500, 1_000]) sample(now, { heap: 0.85, gateway_event_loop_delay: 200, sessions: 0.5 })
    assert.equal(overload.reason, 'gateway_event_loop_delay', 'further above its threshold than the heap')
    for (const now of [1_500, 2_000, 2_500]) sample(now, { heap: 0.85, gateway_event_loop_delay: 200, rss: 0.95 })
    assert.equal(overload.reason, 'rss')
    assert.equal(overload.since, 1_002_500)
    for (let now = 3_000; now <= 20_000; now += 500) sample(now, {})
    assert.deepEqual(seen.map(({ from, to, signal, value }) => [from, to, signal, value]), [
      ['normal', 'degraded', 'gateway_event_loop_delay', 200],
      ['degraded', 'shedding', 'rss', 0.95],
      ['shedding', 'degraded', 'rss', null],
      ['degraded', 'normal', seen[3]?.signal, null]
    ])
    assert.ok(seen[3] !== undefined && ['heap', 'gateway_event_loop_delay', 'rss'].includes(seen[3].signal))
    assert.deepEqual(seen.map(({ at }) => at), [1_001_000, 1_002_500, 1_008_000, 1_013_000])
    assert.equal(overload.reason, undefined)
    unsubscribe()
    overload.setOverride('degraded', 1)
    assert.equal(seen.length, 4)
    assert.deepEqual(overload.transitions.slice(0, 4), seen)
  })

  test('an override is in force whatever the signals say, which are followed behind it', () => {
    const overload = new Overload(POLICY, 0)
    overload.setOverride('shedding', 1)
    assert.deepEqual([overload.state, overload.measured, overload.reason, overload.since], ['shedding', 'normal', 'override', 1])
    assert.deepEqual([overload.backgroundAllowed, overload.burstFactor, overload.shedsSessions, overload.shedsMisses], [false, 0.25, true, true])
    overload.setOverride('normal', 2)
    run(overload, 'heap', repeat(1, 5))
    assert.deepEqual([overload.state, overload.measured, overload.shedsMisses], ['normal', 'shedding', false])
    assert.deepEqual([overload.backgroundAllowed, overload.burstFactor], [true, 1])
    overload.setOverride(undefined, 3)
    assert.deepEqual([overload.state, overload.reason, overload.override], ['shedding', 'heap', undefined])
    overload.setOverride('degraded', 4)
    assert.deepEqual([overload.state, overload.backgroundAllowed, overload.burstFactor, overload.shedsSessions], ['degraded', false, 0.5, false])
    assert.deepEqual(overload.transitions.map(({ from, to, signal }) => `${from} ${to} ${signal}`), ['normal shedding override', 'shedding normal override', 'normal shedding override', 'shedding degraded override'])
  })

  test('a relay that is only full of sessions sends new ones away and goes on to serve the misses of those it has', () => {
    const overload = new Overload(POLICY, 0)
    run(overload, 'sessions', repeat(0.97, 3))
    assert.deepEqual([overload.state, overload.shedsSessions, overload.shedsMisses], ['shedding', true, false])
    run(overload, 'event_loop_delay', repeat(900, 3), 2_000)
    assert.deepEqual([overload.shedsSessions, overload.shedsMisses], [true, true])
  })

  test('a gateway that stays large degrades the relay and never makes it shed: beyond its bound it is replaced', () => {
    const overload = new Overload(POLICY, 0)
    run(overload, 'gateway_rss', repeat(0.99, 1_000))
    assert.equal(overload.state, 'degraded')
  })

  test('a signal that cannot be measured is calm, and the report says that there is none', () => {
    const overload = new Overload(POLICY, 0)
    for (let n = 0; n < 5; n++) overload.sample({ heap: NaN, gateway_rss: 0.4 }, n, n)
    assert.equal(overload.state, 'normal')
    const statuses = new Map(overload.signals().map(status => [status.signal, status]))
    assert.deepEqual([...statuses.keys()], [...OVERLOAD_SIGNALS])
    assert.deepEqual([statuses.get('heap')?.value, statuses.get('heap')?.ratio, statuses.get('fills')?.value], [null, 0, null])
    assert.deepEqual(statuses.get('gateway_rss'), { signal: 'gateway_rss', value: 0.4, ratio: 0.5, state: 'normal', thresholds: POLICY.thresholds.gateway_rss })
  })

  test('the defaults leave a healthy machine under full load alone: 30 to 80 ms of delay, three quarters of everything', () => {
    fc.assert(fc.property(fc.array(fc.record({ delay: fc.integer({ min: 30, max: 80 }), share: fc.double({ min: 0, max: 0.75, noNaN: true }) }), { maxLength: 200 }), samples => {
      const overload = new Overload(POLICY, 0)
      samples.forEach(({ delay, share }, n) => {
        overload.sample({ event_loop_delay: delay, gateway_event_loop_delay: delay, heap: share, rss: share, gateway_rss: share, sessions: share, fills: share }, n * SAMPLE_MS, n)
        assert.equal(overload.state, 'normal')
      })
    }))
  })
})

const threshold: fc.Arbitrary<Threshold> = fc.tuple(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 100 })).map(([a, b]) => ({ enter: Math.max(a, b), leave: Math.min(a, b) }))
const policy: fc.Arbitrary<LatchPolicy> = fc.tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 3_000 })).map(([a, b, holdMs]) => ({ enterSamples: Math.min(a, b), windowSamples: Math.max(a, b), holdMs }))
const steps = fc.array(fc.record({ value: fc.integer({ min: 0, max: 120 }), less: fc.integer({ min: 0, max: 120 }), ms: fc.integer({ min: 0, max: 1_000 }) }), { maxLength: 120 })

suite('properties of one latch', () => {
  test('what lies between leave and enter changes nothing, for ever', () => {
    fc.assert(fc.property(threshold, policy, steps, steps, ({ enter, leave }, latchPolicy, before, between) => {
      fc.pre(leave < enter)
      const latch = new Latch({ enter, leave }, latchPolicy)
      let now = 0
      for (const { value, ms } of before) latch.observe(value, now += ms)
      const { on } = latch
      for (const { value, ms } of between) {
        latch.observe(leave + value % (enter - leave), now += ms)
        assert.equal(latch.on, on)
      }
    }))
  })

  test('it is monotone: lower samples at the same times are never on where the higher ones are off', () => {
    fc.assert(fc.property(threshold, policy, steps, (limits, latchPolicy, samples) => {
      const high = new Latch(limits, latchPolicy)
      const low = new Latch(limits, latchPolicy)
      let now = 0
      for (const { value, less, ms } of samples) {
        high.observe(value, now += ms)
        low.observe(Math.max(0, value - less), now)
        assert.ok(high.on || !low.on)
      }
    }), { numRuns: 1_000 })
  })

  test('once on it stays on for the calm time at least, and turns on only with a bad sample', () => {
    fc.assert(fc.property(threshold, policy, steps, (limits, latchPolicy, samples) => {
      const latch = new Latch(limits, latchPolicy)
      let now = 0
      let onAt: number | undefined
      for (const { value, ms } of samples) {
        const before = latch.on
        latch.observe(value, now += ms)
        if (!before && latch.on) {
          assert.ok(value >= limits.enter)
          onAt = now
        }
        if (before && !latch.on) assert.ok(onAt !== undefined && now - onAt >= latchPolicy.holdMs && value < limits.leave)
      }
    }))
  })
})

/** Signals as multiples of where they enter, so that every one is as likely to matter. */
const machineSteps = fc.array(fc.record({
  ms: fc.integer({ min: 100, max: 2_000 }),
  ratios: fc.array(fc.double({ min: 0, max: 5, noNaN: true }), { minLength: OVERLOAD_SIGNALS.length, maxLength: OVERLOAD_SIGNALS.length }),
  share: fc.double({ min: 0, max: 1, noNaN: true })
}), { maxLength: 150 })

function sampleOf (ratios: readonly number[], factor = 1): OverloadSample {
  return Object.fromEntries(OVERLOAD_SIGNALS.map((signal, n) => [signal, (ratios[n] ?? 0) * factor * POLICY.thresholds[signal].degraded.enter]))
}

suite('properties of the whole', () => {
  test('changes are bounded in time: each step down needs its calm time after the step up, however wild the signals', () => {
    fc.assert(fc.property(machineSteps, samples => {
      const overload = new Overload(POLICY, 0)
      const changes: { now: number, down: boolean }[] = []
      let now = 0
      overload.onChange(({ from, to }) => { changes.push({ now, down: isWorse(from, to) }) })
      for (const { ms, ratios } of samples) overload.sample(sampleOf(ratios), now += ms, now)
      const downs = changes.filter(({ down }) => down).length
      const holds = Math.floor(now / Math.min(HOLD.degraded, HOLD.shedding))
      assert.ok(downs <= 2 * holds, `${downs} steps down in ${now} ms`)
      assert.ok(changes.length - downs <= downs + 2)
      assert.ok(overload.transitions.length <= MAX_TRANSITIONS)
    }))
  })

  test('it is monotone in the signals, and never better than its worst signal', () => {
    fc.assert(fc.property(machineSteps, samples => {
      const [high, low] = [new Overload(POLICY, 0), new Overload(POLICY, 0)]
      let now = 0
      for (const { ms, ratios, share } of samples) {
        now += ms
        high.sample(sampleOf(ratios), now, now)
        low.sample(sampleOf(ratios, share), now, now)
        assert.ok(rank(low.state) <= rank(high.state))
        assert.equal(rank(high.state), Math.max(...high.signals().map(({ state }) => rank(state))))
        assert.equal(high.state === 'normal', high.reason === undefined)
        if (high.reason !== undefined) assert.equal(high.signals().find(({ signal }) => signal === high.reason)?.state, high.state)
      }
    }))
  })

  test('whatever was before, it is normal again after the calm time, whether or not samples come in time', () => {
    fc.assert(fc.property(machineSteps, fc.integer({ min: 1, max: 20_000 }), (samples, step) => {
      const overload = new Overload(POLICY, 0)
      let now = 0
      for (const { ms, ratios } of samples) overload.sample(sampleOf(ratios), now += ms, now)
      const end = now + HOLD.degraded + 2 * step
      while (now < end) overload.sample({}, now += step, now)
      assert.equal(overload.state, 'normal')
    }), { numRuns: 50 })
  })

  test('the list of changes is bounded', () => {
    const overload = new Overload(POLICY, 0)
    for (let n = 0; n < 500; n++) overload.setOverride(n % 2 === 0 ? 'degraded' : 'normal', n)
    assert.equal(overload.transitions.length, MAX_TRANSITIONS)
    assert.equal(overload.transitions.at(-1)?.at, 499)
  })
})
