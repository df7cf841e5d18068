import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { observe, outcomeOf, UNDETECTED, type RegionPolicy, type RegionState } from '../../../../src/plugins/region/choice.ts'
import { latencyByRegion, median } from '../../../../src/plugins/region/measurement.ts'

const POLICY: RegionPolicy = { minSaving: 0.2, marginMs: 5, rounds: 3 }
const REGIONS = ['NA-WEST', 'EU-WEST', 'APAC', 'LATAM']

const policy = fc.record({ minSaving: fc.double({ min: 0, max: 0.99, noNaN: true }), marginMs: fc.double({ min: 0, max: 50, noNaN: true }), rounds: fc.integer({ min: 1, max: 6 }) })
const latency = fc.double({ min: 0, max: 2_000, noNaN: true })
/** Regions in reach with their latency; a region that is not drawn is out of reach. */
const measurement = fc.uniqueArray(fc.tuple(fc.constantFrom(...REGIONS), latency), { selector: ([region]) => region, maxLength: REGIONS.length }).map(entries => new Map(entries))

function after (measurements: readonly ReadonlyMap<string, number>[], using: RegionPolicy, from: RegionState = UNDETECTED): RegionState {
  return measurements.reduce((state, latencies) => observe(state, latencies, using), from)
}

function lowest (latencies: ReadonlyMap<string, number>): number {
  return Math.min(...latencies.values())
}

suite('median', () => {
  test('is the middle value; a failed sample is slower than any other', () => {
    assert.equal(median([30, 10, 20]), 20)
    assert.equal(median([5, 900, 6]), 6, 'one outlier does not move it')
    assert.equal(median([10, null, 20]), 20)
    assert.equal(median([null, 10, null]), null)
    assert.equal(median([null, null, null]), null)
    assert.equal(median([]), null)
    assert.equal(median([9, 80, 100]), 80, 'numbers, not texts, are sorted')
  })

  test('lies between the samples, whatever their order, and leaves them as they are', () => {
    fc.assert(fc.property(fc.array(fc.option(latency), { minLength: 1, maxLength: 9 }), samples => {
      const before = [...samples]
      const value = median(samples)
      assert.deepEqual(samples, before)
      assert.equal(median(samples.toReversed()), value)
      const good = samples.filter(sample => sample !== null)
      assert.equal(value !== null, good.length > samples.length / 2, 'reachable when more than half of them came')
      if (value !== null) assert.ok(good.includes(value))
    }))
  })
})

test('the latency of a region is the lowest median of its nodes in reach; a region without any is absent', () => {
  const latencies = latencyByRegion([
    { region: 'EU-WEST', medianMs: 60 }, { region: 'NA-WEST', medianMs: null }, { region: 'NA-WEST', medianMs: 12 },
    { region: 'EU-WEST', medianMs: 55 }, { region: 'APAC', medianMs: null }
  ])
  assert.deepEqual([...latencies], [['EU-WEST', 55], ['NA-WEST', 12]])
})

suite('choice', () => {
  test('the case of the specification: 50, 150 and 200 ms', () => {
    assert.equal(observe(UNDETECTED, new Map([['APAC', 200], ['NA-WEST', 50], ['EU-WEST', 150]]), POLICY).region, 'NA-WEST')
  })

  test('a change needs the share, the margin and the rounds', () => {
    const from: RegionState = { region: 'NA-WEST', streaks: new Map() }
    const rounds = (na: number, eu: number, count: number) => after(Array.from({ length: count }, () => new Map([['NA-WEST', na], ['EU-WEST', eu]])), POLICY, from).region
    assert.equal(rounds(100, 80, 2), 'NA-WEST', 'a round too few')
    assert.equal(rounds(100, 80, 3), 'EU-WEST', 'exactly 20 % and all rounds')
    assert.equal(rounds(100, 80.1, 100), 'NA-WEST', 'a share too small')
    assert.equal(rounds(10, 5, 3), 'EU-WEST', 'exactly 5 ms')
    assert.equal(rounds(10, 5.1, 100), 'NA-WEST', 'a margin too small, whatever the share')
    assert.equal(rounds(10, 10, 100), 'NA-WEST', 'a tie')
  })

  test('one detection that does not agree starts the count again', () => {
    const better = new Map([['NA-WEST', 100], ['EU-WEST', 10]])
    const same = new Map([['NA-WEST', 100], ['EU-WEST', 99]])
    const nothing = new Map<string, number>()
    const from: RegionState = { region: 'NA-WEST', streaks: new Map() }
    for (const gap of [same, nothing, new Map([['NA-WEST', 100]])]) {
      const state = after([better, better, gap, better, better], POLICY, from)
      assert.equal(state.region, 'NA-WEST')
      assert.equal(observe(state, better, POLICY).region, 'EU-WEST')
    }
  })

  test('two better regions that take turns at being the lowest do not keep each other out', () => {
    const from: RegionState = { region: 'NA-WEST', streaks: new Map() }
    const turns = [20, 22, 20].map(eu => new Map([['NA-WEST', 100], ['EU-WEST', eu], ['APAC', 42 - eu]]))
    assert.equal(after(turns, POLICY, from).region, 'EU-WEST')
  })

  test('without hysteresis and with one round a tie still stays', () => {
    const off: RegionPolicy = { minSaving: 0, marginMs: 0, rounds: 1 }
    const from: RegionState = { region: 'NA-WEST', streaks: new Map() }
    assert.equal(observe(from, new Map([['EU-WEST', 10], ['NA-WEST', 10]]), off).region, 'NA-WEST')
    assert.equal(observe(from, new Map([['EU-WEST', 9.9], ['NA-WEST', 10]]), off).region, 'EU-WEST')
  })

  test('outcomes', () => {
    const outcome = (state: RegionState, latencies: Map<string, number>) => outcomeOf(state, observe(state, latencies, POLICY), latencies)
    const at: RegionState = { region: 'NA-WEST', streaks: new Map() }
    assert.equal(outcome(UNDETECTED, new Map()), 'unreachable')
    assert.equal(outcome(at, new Map()), 'unreachable')
    assert.equal(outcome(UNDETECTED, new Map([['APAC', 1]])), 'first')
    assert.equal(outcome(at, new Map([['NA-WEST', 1]])), 'kept')
    assert.equal(outcome(at, new Map([['NA-WEST', 100], ['APAC', 1]])), 'pending')
    assert.equal(outcome(at, new Map([['APAC', 1]])), 'changed')
  })
})

suite('properties', () => {
  test('the first region is the lowest; nothing in reach changes nothing; a region out of reach is left immediately for the lowest', () => {
    fc.assert(fc.property(fc.array(measurement, { maxLength: 20 }), policy, (measurements, using) => {
      let state = UNDETECTED
      for (const latencies of measurements) {
        const next = observe(state, latencies, using)
        if (latencies.size === 0) assert.equal(next.region, state.region)
        else if (state.region === undefined || !latencies.has(state.region)) assert.equal(latencies.get(next.region ?? ''), lowest(latencies))
        else if (next.region !== state.region) assert.ok((latencies.get(next.region ?? '') ?? Infinity) < (latencies.get(state.region) ?? 0), 'never to a slower one')
        if (latencies.size > 0) assert.ok(latencies.has(next.region ?? ''), 'the region is one in reach')
        state = next
      }
    }))
  })

  test('jitter below the margin, or below the share, never changes the region', () => {
    const jitters = fc.array(fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { minLength: REGIONS.length, maxLength: REGIONS.length }), { minLength: 1, maxLength: 40 })
    fc.assert(fc.property(fc.double({ min: 1, max: 500, noNaN: true }), jitters, fc.record({ minSaving: fc.double({ min: 0.05, max: 0.9, noNaN: true }), marginMs: fc.double({ min: 1, max: 50, noNaN: true }), rounds: fc.integer({ min: 1, max: 4 }) }), (base, rounds, using) => {
      // Two latencies from [base, base + spread) differ by less than the margin; or by less than the share of the higher one.
      for (const spread of [using.marginMs, base * using.minSaving / (1 - using.minSaving)]) {
        const start: RegionState = { region: 'EU-WEST', streaks: new Map() }
        const state = after(rounds.map(jitter => new Map(REGIONS.map((region, n) => [region, base + (jitter[n] ?? 0) * spread]))), using, start)
        assert.equal(state.region, 'EU-WEST')
      }
    }))
  })

  test('a region that stays clearly better is taken after exactly the rounds of the policy, and then kept', () => {
    fc.assert(fc.property(policy, fc.double({ min: 0, max: 100, noNaN: true }), fc.double({ min: 1, max: 100, noNaN: true }), (using, best, extra) => {
      const present = (best + using.marginMs + extra) / (1 - using.minSaving)
      const latencies = new Map([['NA-WEST', present], ['APAC', best], ['LATAM', present + 1]])
      let state: RegionState = { region: 'NA-WEST', streaks: new Map() }
      for (let round = 1; round <= using.rounds; round++) {
        state = observe(state, latencies, using)
        assert.equal(state.region, round < using.rounds ? 'NA-WEST' : 'APAC', `round ${round}`)
      }
      assert.equal(after(Array.from({ length: 10 }, () => latencies), using, state).region, 'APAC')
    }))
  })

  test('between two changes of a region that stays in reach lie at least the rounds of the policy, and its memory is bounded', () => {
    fc.assert(fc.property(fc.array(measurement.filter(latencies => latencies.size === REGIONS.length), { maxLength: 40 }), policy, (measurements, using) => {
      let state = UNDETECTED
      let since = 0
      for (const latencies of measurements) {
        const next = observe(state, latencies, using)
        since++
        if (next.region !== state.region) {
          if (state.region !== undefined) assert.ok(since >= using.rounds, `${since} rounds`)
          since = 0
        }
        assert.ok(next.streaks.size < REGIONS.length)
        for (const count of next.streaks.values()) assert.ok(count >= 1 && count < using.rounds)
        state = next
      }
    }))
  })
})
