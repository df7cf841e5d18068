import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { HedgeBudget, Race } from '../../../../src/plugins/upstream/race.ts'

const always = (): boolean => true
const never = (): boolean => false

test('the second is asked when the first is late, the third when the second is', () => {
  const race = new Race([50, 80, 10], 1_000, { deadlineMs: 500, maxParallel: 3, patienceMs: 250 })
  assert.deepEqual(race.step(1_000, always), { do: 'ask', index: 0, why: 'first' })
  assert.deepEqual(race.step(1_000, always), { do: 'wait', until: 1_050 })
  assert.deepEqual(race.step(1_049, always), { do: 'wait', until: 1_050 })
  assert.deepEqual(race.step(1_050, always), { do: 'ask', index: 1, why: 'hedge' })
  assert.deepEqual(race.step(1_050, always), { do: 'wait', until: 1_130 })
  assert.deepEqual(race.step(1_135, always), { do: 'ask', index: 2, why: 'hedge' })
  assert.deepEqual(race.step(1_200, always), { do: 'wait', until: 1_500 })
  assert.deepEqual(race.step(1_500, always), { do: 'give up', why: 'deadline' })
})

test('a failure is made up for immediately, without the budget, and when all have failed the race is over', () => {
  const race = new Race([50, 50, 50], 0, { deadlineMs: 500, maxParallel: 3, patienceMs: 250 })
  race.step(0, never)
  race.failed(0)
  assert.deepEqual(race.step(3, never), { do: 'ask', index: 1, why: 'failover' })
  race.failed(1)
  assert.deepEqual(race.step(4, never), { do: 'ask', index: 2, why: 'failover' })
  race.failed(2)
  assert.deepEqual(race.step(5, never), { do: 'give up', why: 'failed' })
})

test('one of two under way fails: the third is asked immediately', () => {
  const race = new Race([10, 400, 400], 0, { deadlineMs: 500, maxParallel: 2, patienceMs: 250 })
  race.step(0, always)
  race.step(10, always)
  assert.deepEqual(race.step(11, always), { do: 'wait', until: 500 })
  race.failed(0)
  assert.deepEqual(race.step(12, never), { do: 'ask', index: 2, why: 'failover' })
})

test('a refused hedge is not asked for again; the late one is dropped when its time is over, and the next asked in its place', () => {
  const race = new Race([10, 10, 10], 0, { deadlineMs: 500, maxParallel: 3, patienceMs: 250 })
  race.step(0, never)
  let asked = 0
  const refuse = (): boolean => { asked++; return false }
  for (let now = 10; now < 100; now++) assert.deepEqual(race.step(now, refuse), { do: 'wait', until: 250 })
  assert.equal(asked, 1)
  assert.deepEqual(race.step(250, refuse), { do: 'drop', index: 0 })
  race.failed(0)
  assert.deepEqual(race.step(250, refuse), { do: 'ask', index: 1, why: 'failover' })
  assert.equal(race.running, 1)
})

test('random schedules: everyone is asked at most once, never too many together, hedges within the budget, an end by the deadline', () => {
  const candidate = fc.record({ delay: fc.integer({ min: 1, max: 200 }), takes: fc.integer({ min: 0, max: 900 }), good: fc.boolean() })
  fc.assert(fc.property(
    fc.array(fc.array(candidate, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 30 }), fc.integer({ min: 1, max: 4 }), fc.integer({ min: 0, max: 10 }),
    (schedules, maxParallel, tenths) => {
      const budget = new HedgeBudget(tenths / 10, 3)
      let hedges = 0
      for (const [requests, candidates] of schedules.entries()) {
        const race = new Race(candidates.map(({ delay }) => delay), 0, { deadlineMs: 500, maxParallel, patienceMs: 250 })
        budget.earn()
        const running = new Map<number, number>()
        const asked: number[] = []
        let now = 0
        let outcome: string | undefined
        for (let steps = 0; outcome === undefined; steps++) {
          assert.ok(steps < 100, 'the race comes to an end')
          const step = race.step(now, () => budget.spend())
          if (step.do === 'give up') {
            outcome = step.why
          } else if (step.do === 'ask') {
            asked.push(step.index)
            if (step.why === 'hedge') hedges++
            running.set(step.index, now + (candidates[step.index]?.takes ?? 0))
            assert.ok(running.size <= maxParallel)
            assert.equal(race.running, running.size)
          } else if (step.do === 'drop') {
            assert.ok(running.delete(step.index))
          } else {
            assert.ok(step.until > now)
            const [first] = [...running].toSorted((a, b) => a[1] - b[1])
            if (first === undefined || first[1] > step.until) {
              now = step.until
            } else {
              now = Math.max(now, first[1])
              running.delete(first[0])
              if (candidates[first[0]]?.good === true) outcome = 'answered'
              else race.failed(first[0])
            }
          }
        }
        assert.ok(now <= 500)
        assert.deepEqual(asked, candidates.slice(0, asked.length).map((_, index) => index))
        if (outcome === 'failed') assert.equal(asked.length, candidates.length)
        // Whoever is asked first and good in time settles it.
        if (candidates[0]?.good === true && candidates[0].takes < 250) assert.equal(outcome, 'answered')
        assert.ok(hedges <= (tenths === 0 ? 0 : 3 + (requests + 1) * tenths / 10 + 1e-9))
      }
    }
  ), { numRuns: 300 })
})

test('the hedge budget starts full, is bounded, and 0 switches hedging off', () => {
  const budget = new HedgeBudget(0.5, 2)
  for (let n = 0; n < 100; n++) budget.earn()
  assert.equal(budget.tokens, 2)
  assert.deepEqual([budget.spend(), budget.spend(), budget.spend()], [true, true, false])
  budget.earn()
  budget.earn()
  assert.equal(budget.spend(), true)
  assert.equal(new HedgeBudget(0, 2).spend(), false)
})
