import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { countWindow, mayTry, MIN_WEIGHT, type CircuitAttempt, type Outcome } from '../../../../src/plugins/upstream/circuit.ts'
import { LATENCY_SAMPLES } from '../../../../src/plugins/upstream/latency.ts'
import { isEjected } from '../../../../src/plugins/upstream/outlier.ts'
import { beginAttempt, DEFAULT_FITNESS_POLICY as policy, EXPLORE_SHARE, finishAttempt, newFitness, nodeState, nodeWeight, orderCandidates, recordCheck, sweepOutliers, type AdminState, type NodeCandidate, type FitnessPolicy } from '../../../../src/plugins/upstream/node-state.ts'

interface Node extends NodeCandidate { readonly id: string }

/** A draw that no probability below 1 wins. */
const never = (): number => 0.999_999
const always = (): number => 0

function node (id: string, region = 'EU-WEST', latencyMs?: number, now = 0): Node {
  const fitness = newFitness()
  if (latencyMs !== undefined) fitness.latency.add(latencyMs, now)
  return { id, region, fitness }
}

function ask ({ fitness }: NodeCandidate, outcome: Outcome, now: number, times = 1, headMs?: number): void {
  for (let n = 0; n < times; n++) finishAttempt(fitness, beginAttempt(fitness, now, policy), outcome, headMs, now, 0, policy)
}

const order = (nodes: Node[], now: number, random: () => number, region = 'EU-WEST'): string => orderCandidates(nodes, region, now, random, policy).map(({ id }) => id).join('')

suite('the order', () => {
  test('own region first, then the fastest, unknown before known', () => {
    const nodes = [node('a', 'APAC', 1), node('b', 'EU-WEST', 90), node('c', 'EU-WEST', 80), node('d', 'APAC'), node('e')]
    assert.equal(order(nodes, 0, never), 'ecbda')
    assert.equal(order(nodes, 0, never, ''), 'deacb')
    assert.equal(nodes.map(({ id }) => id).join(''), 'abcde', 'the list itself stays')
  })

  test('ejected nodes come behind usable ones, open ones last, the next to return first', () => {
    const nodes = [node('a'), node('b'), node('c'), node('d', 'APAC', 500), node('e')]
    const [a, b, c, , e] = nodes
    assert.ok(a !== undefined && b !== undefined && c !== undefined && e !== undefined)
    ask(a, 'error', 100, 3)
    ask(b, 'error', 0, 3)
    c.fitness.ejection.until = 5_000
    e.fitness.ejection.until = 4_000
    assert.equal(order(nodes, 200, never), 'decba')
    assert.deepEqual(nodes.map(({ fitness }) => nodeState(fitness, 200)), ['open', 'open', 'ejected', 'up', 'ejected'])
  })

  test('draining and disabled nodes are left out, even if nothing else is there', () => {
    const nodes = [node('a'), node('b'), node('c')]
    const [a, b] = nodes
    assert.ok(a !== undefined && b !== undefined)
    a.fitness.admin = 'draining'
    b.fitness.admin = 'disabled'
    assert.equal(order(nodes, 0, never), 'c')
    assert.equal(order(nodes.slice(0, 2), 0, never), '')
    assert.deepEqual(nodes.map(({ fitness }) => nodeState(fitness, 0)), ['draining', 'disabled', 'up'])
  })

  test('a probing node gets the smallest share while a trial is free, and waits at the end when none is', () => {
    const nodes = [node('a', 'EU-WEST', 10), node('b', 'APAC', 500)]
    const [a] = nodes
    assert.ok(a !== undefined)
    ask(a, 'error', 0, 3)
    const now = a.fitness.circuit.retryAt
    assert.equal(nodeState(a.fitness, now), 'probing')
    assert.equal(order(nodes, now, () => MIN_WEIGHT - 1e-9), 'ab')
    assert.equal(order(nodes, now, () => MIN_WEIGHT), 'ba')
    for (let n = 0; n < policy.circuit.trials; n++) assert.equal(beginAttempt(a.fitness, now, policy).trial, true)
    assert.equal(order(nodes, now, always), 'ba')
  })

  test('a node that is back gets its turn with the probability of its weight', () => {
    const nodes = [node('a', 'EU-WEST', 10), node('b', 'EU-WEST', 500)]
    const [a] = nodes
    assert.ok(a !== undefined)
    ask(a, 'error', 0, 3)
    const back = a.fitness.circuit.retryAt
    ask(a, 'ok', back)
    for (const part of [0.1, 0.5, 0.9, 1, 3]) {
      const now = back + part * policy.circuit.rampMs
      const share = nodeWeight(a.fitness, now, policy)
      assert.ok(Math.abs(share - Math.min(1, part)) < 1e-9)
      const draws = 1_000
      let first = 0
      for (let n = 0; n < draws; n++) if (order(nodes, now, () => n / draws).startsWith('a')) first++
      assert.ok(Math.abs(first / draws - share) <= 2 / draws, `${first} of ${draws} at weight ${share}`)
    }
  })

  test('the share rises after an ejection as well', () => {
    const back = node('a')
    back.fitness.ejection.until = 1_000
    assert.equal(nodeWeight(back.fitness, 1_000, policy), MIN_WEIGHT)
    assert.equal(nodeWeight(back.fitness, 1_000 + policy.circuit.rampMs / 2, policy), 0.5)
    assert.equal(nodeWeight(back.fitness, 1_000 + policy.circuit.rampMs, policy), 1)
  })

  test('a node that was slow long ago is tried again now and then, one that was slow just now is not', () => {
    const nodes = [node('a', 'EU-WEST', 1_000), node('b', 'EU-WEST', 10)]
    const later = policy.latency.maxAgeMs + 1
    assert.equal(order(nodes, policy.latency.maxAgeMs, always), 'ba')
    nodes[1]?.fitness.latency.add(10, later)
    assert.equal(order(nodes, later, () => EXPLORE_SHARE - 1e-9), 'ab')
    assert.equal(order(nodes, later, () => EXPLORE_SHARE), 'ba')
  })
})

test('a node that fails most requests is ejected, starts with a clean sheet and is not ejected again for the past', () => {
  const nodes = [node('a'), node('b'), node('c')]
  const [a, b, c] = nodes
  assert.ok(a !== undefined && b !== undefined && c !== undefined)
  const now = 5_000
  ask(b, 'ok', now, 100, 20)
  ask(c, 'ok', now, 100, 25)
  // Never three in a row and fewer than half: the circuit stays closed.
  for (let n = 0; n < 20; n++) {
    ask(a, 'ok', now, 3, 20)
    ask(a, 'error', now, 2)
  }
  assert.deepEqual(sweepOutliers(nodes, now, policy), [a])
  assert.equal(nodeState(a.fitness, now), 'ejected')
  assert.equal(a.fitness.latency.size(now), 0)
  assert.deepEqual(countWindow(a.fitness.circuit, now, policy.circuit), { good: 0, bad: 0 })
  assert.notEqual(a.fitness.latency.ewma, undefined)
  const back = a.fitness.ejection.until
  assert.equal(nodeState(a.fitness, back), 'up')
  assert.deepEqual(sweepOutliers(nodes, back, policy), [])
})

test('good answers and those given up as late are samples of the latency, and each one once', () => {
  const { fitness } = node('a')
  for (const outcome of ['error', 'corrupt', 'aborted'] as const) finishAttempt(fitness, beginAttempt(fitness, 0, policy), outcome, 500, 0, 0, policy)
  assert.equal(fitness.latency.ewma, undefined)
  const attempt = beginAttempt(fitness, 0, policy)
  finishAttempt(fitness, attempt, 'ok', 20, 0, 0, policy)
  finishAttempt(fitness, attempt, 'ok', undefined, 0, 0, policy)
  assert.equal(fitness.latency.size(0), 1)
  finishAttempt(fitness, beginAttempt(fitness, 0, policy), 'timeout', 500, 0, 0, policy)
  // A body that stalls says nothing about the time to a head.
  finishAttempt(fitness, attempt, 'timeout', undefined, 0, 0, policy)
  assert.equal(fitness.latency.size(0), 2)
  assert.ok(Number(fitness.latency.ewma) > 20)
})

test('disabled nodes are neither ejected nor counted', () => {
  const nodes = [node('a'), node('b'), node('c'), node('d')]
  const [a, b, c, d] = nodes
  assert.ok(a !== undefined && b !== undefined && c !== undefined && d !== undefined)
  for (const good of [b, c, d]) ask(good, 'ok', 0, 100)
  for (let n = 0; n < 20; n++) {
    ask(a, 'ok', 0, 3)
    ask(a, 'error', 0, 2)
  }
  c.fitness.admin = 'disabled'
  d.fitness.admin = 'draining'
  // Half of the two that are left is one; a third of them is none.
  assert.deepEqual(sweepOutliers(nodes, 0, { ...policy, outlier: { ...policy.outlier, maxPercent: 34 } }), [])
  assert.deepEqual(sweepOutliers(nodes, 0, policy), [a])
})

test('under any schedule: candidates are all enabled nodes, best first; one usable node is never ejected; memory is bounded', () => {
  // Small numbers, so that random schedules reach every state.
  const eager: FitnessPolicy = {
    circuit: { ...policy.circuit, failures: 4, errorRatio: 0.8 },
    latency: { ...policy.latency, minSamples: 3 },
    outlier: { ...policy.outlier, minRequests: 4 }
  }
  const which = fc.nat(4)
  const outcomes = fc.constantFrom<Outcome>('ok', 'ok', 'ok', 'ok', 'ok', 'error', 'timeout', 'corrupt', 'aborted')
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.record({ do: fc.constant('start' as const), which, burst: fc.integer({ min: 1, max: 5 }) }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('serve' as const), which, outcome: outcomes, burst: fc.integer({ min: 1, max: 8 }), headMs: fc.nat(3_000) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('finish' as const), which, outcome: outcomes, burst: fc.integer({ min: 1, max: 5 }), headMs: fc.nat(3_000) }) },
    fc.record({ do: fc.constant('check' as const), which, passed: fc.boolean() }),
    fc.record({ do: fc.constant('admin' as const), which, admin: fc.constantFrom<AdminState>('enabled', 'enabled', 'draining', 'disabled') }),
    fc.record({ do: fc.constant('sweep' as const) }),
    { weight: 2, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.oneof(fc.nat(100), fc.nat(5_000), fc.nat(100_000)) }) }
  )
  const draws = fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), { minLength: 1, maxLength: 20 })
  const seen = new Map<string, number>()
  fc.assert(fc.property(fc.integer({ min: 1, max: 5 }), fc.array(step, { maxLength: 120, size: 'max' }), draws, (size, steps, values) => {
    let drawn = 0
    const random = (): number => values[drawn++ % values.length] ?? 0
    const nodes = ['a', 'b', 'c', 'd', 'e'].slice(0, size).map((id, n) => ({ id, region: n % 2 === 0 ? 'EU-WEST' : 'APAC', fitness: newFitness(eager) }))
    const pending = new Map<Node, CircuitAttempt[]>(nodes.map(each => [each, []]))
    let now = 0
    for (const action of steps) {
      const each = 'which' in action ? nodes[action.which % size] : undefined
      const attempts = each === undefined ? undefined : pending.get(each)
      if (action.do === 'wait') now += action.ms
      else if (action.do === 'sweep') {
        const usable = (): number => nodes.filter(({ fitness }) => nodeState(fitness, now) === 'up').length
        const before = usable()
        const ejected = sweepOutliers(nodes, now, eager)
        assert.equal(usable(), before - ejected.length)
        assert.ok(before === 0 || usable() > 0, 'one usable node is left')
      } else if (each === undefined || attempts === undefined) assert.fail('every other step has a node')
      else if (action.do === 'admin') each.fitness.admin = action.admin
      else if (action.do === 'check') recordCheck(each.fitness, action.passed, now, random(), eager)
      else if (action.do === 'start') for (let n = 0; n < action.burst; n++) attempts.push(beginAttempt(each.fitness, now, eager))
      else {
        if (action.do === 'serve') for (let n = 0; n < action.burst; n++) attempts.unshift(beginAttempt(each.fitness, now, eager))
        for (const attempt of attempts.splice(0, action.burst)) finishAttempt(each.fitness, attempt, action.outcome, action.headMs, now, random(), eager)
      }
      const enabled = nodes.filter(({ fitness }) => fitness.admin === 'enabled')
      const candidates = orderCandidates(nodes, 'EU-WEST', now, random, eager)
      assert.equal(candidates.length, enabled.length)
      assert.deepEqual(new Set(candidates), new Set(enabled))
      const rank = ({ fitness }: Node): number => !mayTry(fitness.circuit, now, eager.circuit) ? 2 : isEjected(fitness.ejection, now) ? 1 : 0
      candidates.forEach((candidate, n) => {
        const next = candidates[n + 1]
        if (next === undefined) return
        assert.ok(rank(candidate) <= rank(next), 'usable, ejected, open')
        if (rank(candidate) !== rank(next)) return
        if (rank(candidate) === 2) assert.ok(candidate.fitness.circuit.retryAt <= next.fitness.circuit.retryAt)
        if ([candidate, next].every(({ fitness }) => rank({ ...candidate, fitness }) === 0 && nodeWeight(fitness, now, eager) === 1)) assert.ok(candidate.region === 'EU-WEST' || next.region !== 'EU-WEST', 'own region first')
      })
      for (const { fitness } of nodes) {
        seen.set(nodeState(fitness, now), (seen.get(nodeState(fitness, now)) ?? 0) + 1)
        const share = nodeWeight(fitness, now, eager)
        assert.ok(share > 0 && share <= 1)
        assert.ok(fitness.circuit.trials.size <= eager.circuit.trials)
        assert.ok(fitness.latency.size(now) <= LATENCY_SAMPLES)
      }
    }
  }), { numRuns: 300 })
  for (const state of ['up', 'probing', 'open', 'ejected', 'draining', 'disabled']) assert.ok((seen.get(state) ?? 0) > 100, `the schedules reach ${state}`)
})
