import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { backoff, checkFailed, checkPassed, circuitState, countWindow, DEFAULT_CIRCUIT_POLICY, mayTry, MIN_WEIGHT, newCircuit, rampWeight, recordOutcome, startAttempt, weight, type CircuitAttempt, type Circuit, type CircuitPolicy, type Outcome } from '../../../../src/plugins/upstream/circuit.ts'

const policy: CircuitPolicy = { ...DEFAULT_CIRCUIT_POLICY, failures: 3, windowMs: 10_000, minRequests: 10, trials: 2, initialMs: 1_000, maxMs: 60_000, rampMs: 30_000 }
const random01 = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })

/** One request that ends immediately. */
function ask (circuit: Circuit, outcome: Outcome, now: number, random = 0): void {
  recordOutcome(circuit, startAttempt(circuit, now, policy), outcome, now, random, policy)
}

/** A circuit opened at `now` by failures in a row. */
function opened (now = 0): Circuit {
  const circuit = newCircuit()
  for (let n = 0; n < policy.failures; n++) ask(circuit, 'error', now)
  assert.equal(circuitState(circuit, now), 'open')
  return circuit
}

suite('opening', () => {
  test('failures in a row open it, one fewer or a good answer in between do not', () => {
    const circuit = newCircuit()
    for (let round = 0; round < 3; round++) {
      ask(circuit, 'error', 0)
      ask(circuit, 'timeout', 0)
      for (let n = 0; n < 3; n++) ask(circuit, 'ok', 0)
    }
    assert.equal(circuitState(circuit, 0), 'closed')
    ask(circuit, 'error', 0)
    ask(circuit, 'timeout', 0)
    assert.equal(circuitState(circuit, 0), 'closed')
    ask(circuit, 'error', 0)
    assert.equal(circuitState(circuit, 0), 'open')
  })

  test('the error ratio of the window opens it from the minimum of requests on', () => {
    const circuit = newCircuit()
    for (let n = 0; n < 9; n++) ask(circuit, n % 2 === 0 ? 'ok' : 'error', n)
    assert.deepEqual(countWindow(circuit, 9, policy), { good: 5, bad: 4 })
    assert.equal(circuitState(circuit, 9), 'closed')
    ask(circuit, 'error', 9)
    assert.equal(circuitState(circuit, 9), 'open')
  })

  test('failures older than the window do not count', () => {
    const circuit = newCircuit()
    for (let n = 0; n < 4; n++) {
      ask(circuit, 'error', 0)
      ask(circuit, 'ok', 0)
    }
    assert.deepEqual(countWindow(circuit, policy.windowMs - 1, policy), { good: 4, bad: 4 })
    assert.deepEqual(countWindow(circuit, policy.windowMs, policy), { good: 0, bad: 0 })
    ask(circuit, 'ok', policy.windowMs)
    assert.deepEqual(countWindow(circuit, policy.windowMs, policy), { good: 1, bad: 0 })
    ask(circuit, 'error', policy.windowMs)
    assert.equal(circuitState(circuit, policy.windowMs), 'closed')
  })

  test('one corrupt body opens it immediately, however old the request', () => {
    const circuit = newCircuit()
    const before = startAttempt(circuit, 0, policy)
    for (let n = 0; n < 1_000; n++) ask(circuit, 'ok', 0)
    recordOutcome(circuit, before, 'corrupt', 5_000, 0.5, policy)
    assert.equal(circuitState(circuit, 5_000), 'open')
  })

  test('an aborted request tells nothing', () => {
    const circuit = newCircuit()
    for (let n = 0; n < 100; n++) ask(circuit, 'aborted', 0)
    assert.equal(circuitState(circuit, 0), 'closed')
    assert.deepEqual(countWindow(circuit, 0, policy), { good: 0, bad: 0 })
    const open = opened()
    ask(open, 'aborted', open.retryAt)
    assert.equal(circuitState(open, open.retryAt), 'half-open')
    assert.equal(open.trials.size, 0)
  })
})

suite('the pause', () => {
  test('doubles from the initial to the longest, its upper half random, and never overflows', () => {
    fc.assert(fc.property(fc.nat(100_000), random01, (exponent, random) => {
      const full = Math.min(60_000, 1_000 * 2 ** Math.min(exponent, 30))
      const pause = backoff(exponent, random, policy)
      assert.ok(pause >= full / 2 && pause <= full, `${pause} ms`)
    }))
    assert.ok(backoff(0, 0.999, { initialMs: 1_000, maxMs: 100 }) <= 100)
  })

  test('grows with failed trials, not with requests that had nobody else to ask', () => {
    const circuit = opened()
    const { retryAt } = circuit
    for (let n = 0; n < 1_000; n++) ask(circuit, 'error', 100)
    assert.equal(circuit.retryAt, retryAt)
    const pauses: number[] = []
    for (let n = 0; n < 8; n++) {
      const now = circuit.retryAt
      ask(circuit, 'error', now, 0)
      pauses.push(circuit.retryAt - now)
    }
    assert.deepEqual(pauses, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000])
  })

  test('starts over only after a recovery that lasted', () => {
    const circuit = opened()
    let now = circuit.retryAt
    ask(circuit, 'error', now)
    now = circuit.retryAt
    ask(circuit, 'ok', now)
    assert.equal(circuitState(circuit, now), 'closed')
    now += policy.rampMs - 1
    for (let n = 0; n < 3; n++) ask(circuit, 'error', now)
    assert.equal(circuit.retryAt - now, 2_000, 'flapping')
    now = circuit.retryAt
    ask(circuit, 'ok', now)
    now += policy.rampMs
    for (let n = 0; n < 3; n++) ask(circuit, 'error', now)
    assert.equal(circuit.retryAt - now, 500, 'recovered')
  })
})

suite('coming back', () => {
  test('half-open has a bounded number of trials; a place comes back with the outcome or when the trial is lost', () => {
    const circuit = opened()
    assert.equal(mayTry(circuit, circuit.retryAt - 1, policy), false)
    const now = circuit.retryAt
    const [first, second] = [startAttempt(circuit, now, policy), startAttempt(circuit, now + 1, policy)]
    assert.deepEqual([first.trial, second.trial], [true, true])
    assert.equal(mayTry(circuit, now, policy), false)
    assert.equal(startAttempt(circuit, now, policy).trial, false)
    recordOutcome(circuit, first, 'aborted', now, 0, policy)
    assert.equal(mayTry(circuit, now, policy), true)
    startAttempt(circuit, now, policy)
    assert.equal(mayTry(circuit, now + policy.trialMaxMs - 1, policy), false)
    assert.equal(mayTry(circuit, now + policy.trialMaxMs, policy), true)
  })

  test('trials of the opening before hold no place', () => {
    const circuit = opened()
    const trials = Array.from({ length: policy.trials }, () => startAttempt(circuit, circuit.retryAt, policy))
    const [first, second] = trials
    assert.ok(first !== undefined && second !== undefined)
    recordOutcome(circuit, first, 'timeout', circuit.retryAt, 0, policy)
    const now = circuit.retryAt
    for (let n = 0; n < policy.trials; n++) assert.equal(startAttempt(circuit, now, policy).trial, true)
    recordOutcome(circuit, second, 'timeout', now, 0, policy)
    assert.equal(circuit.retryAt, now)
    assert.equal(circuit.trials.size, policy.trials)
  })

  test('as many good trials as the policy asks for close it', () => {
    const patient = { ...policy, trialSuccesses: 2 }
    const circuit = opened()
    const now = circuit.retryAt
    recordOutcome(circuit, startAttempt(circuit, now, patient), 'ok', now, 0, patient)
    assert.equal(circuitState(circuit, now), 'half-open')
    recordOutcome(circuit, startAttempt(circuit, now, patient), 'ok', now, 0, patient)
    assert.equal(circuitState(circuit, now), 'closed')
  })

  test('what was asked before it opened neither closes nor reopens it', () => {
    const circuit = newCircuit()
    const early = Array.from({ length: 20 }, () => startAttempt(circuit, 0, policy))
    for (let n = 0; n < 3; n++) ask(circuit, 'error', 0)
    const [good, ...late] = early
    assert.ok(good !== undefined)
    recordOutcome(circuit, good, 'ok', 10, 0, policy)
    assert.equal(circuitState(circuit, 10), 'open')
    const now = circuit.retryAt
    ask(circuit, 'ok', now)
    for (const attempt of late) recordOutcome(circuit, attempt, 'timeout', now, 0, policy)
    assert.equal(circuitState(circuit, now), 'closed')
  })

  test('the last hope that answers closes it, unless it sent a corrupt body and the pause is not over', () => {
    const circuit = opened()
    ask(circuit, 'ok', 1)
    assert.equal(circuitState(circuit, 1), 'closed')
    const corrupt = newCircuit()
    ask(corrupt, 'corrupt', 0)
    ask(corrupt, 'ok', 1)
    assert.equal(circuitState(corrupt, 1), 'open')
    ask(corrupt, 'ok', corrupt.retryAt)
    assert.equal(circuitState(corrupt, corrupt.retryAt), 'closed')
  })

  test('a body that fails after the good head of a trial counts again', () => {
    const circuit = opened()
    const now = circuit.retryAt
    const trial = startAttempt(circuit, now, policy)
    recordOutcome(circuit, trial, 'ok', now, 0, policy)
    recordOutcome(circuit, trial, 'error', now, 0, policy)
    assert.equal(circuit.failures, 1)
    recordOutcome(circuit, trial, 'corrupt', now, 0, policy)
    assert.equal(circuitState(circuit, now), 'open')
  })

  test('its share of traffic rises linearly from the smallest to all of it', () => {
    const circuit = opened()
    assert.equal(weight(newCircuit(), 0, policy), 1)
    assert.equal(weight(circuit, 0, policy), MIN_WEIGHT)
    const now = circuit.retryAt
    ask(circuit, 'ok', now)
    assert.deepEqual([0, 0.25, 0.5, 1, 2].map(part => weight(circuit, now + part * policy.rampMs, policy)), [MIN_WEIGHT, 0.25, 0.5, 1, 1])
    fc.assert(fc.property(fc.nat(100_000), fc.nat(100_000), fc.nat(60_000), (since, after, rampMs) => {
      const share = rampWeight(since, since + after, rampMs)
      assert.ok(share >= MIN_WEIGHT && share <= 1)
      assert.ok(rampWeight(since, since + after + 1, rampMs) >= share)
    }))
  })
})

suite('health checks', () => {
  test('a passed check makes an open circuit half-open, the next one closes it', () => {
    const circuit = opened()
    checkPassed(circuit, 1)
    assert.equal(circuitState(circuit, 1), 'half-open')
    checkPassed(circuit, 2)
    assert.equal(circuitState(circuit, 2), 'closed')
    assert.equal(weight(circuit, 2, policy), MIN_WEIGHT)
  })

  test('a node whose checks pass while its answers fail has to wait for its pause', () => {
    const circuit = opened()
    checkPassed(circuit, 1)
    ask(circuit, 'error', 1)
    const { retryAt } = circuit
    checkPassed(circuit, 2)
    assert.equal(circuitState(circuit, 2), 'open')
    assert.equal(circuit.retryAt, retryAt)
    ask(circuit, 'ok', retryAt)
    const now = retryAt + policy.rampMs
    for (let n = 0; n < 3; n++) ask(circuit, 'error', now)
    checkPassed(circuit, now + 1)
    assert.equal(circuitState(circuit, now + 1), 'half-open', 'trusted again after a recovery that lasted')
  })

  test('a passed check says nothing about corrupt bodies', () => {
    const circuit = newCircuit()
    ask(circuit, 'corrupt', 0)
    checkPassed(circuit, 1)
    assert.equal(circuitState(circuit, 1), 'open')
    checkPassed(circuit, circuit.retryAt)
    assert.equal(circuitState(circuit, circuit.retryAt), 'half-open')
  })

  test('failed checks in a row open it without a viewer, one reopens a half-open one', () => {
    const circuit = newCircuit()
    for (const passed of [false, false, true, false, false]) {
      if (passed) checkPassed(circuit, 0)
      else checkFailed(circuit, 0, 0, policy)
    }
    assert.equal(circuitState(circuit, 0), 'closed')
    checkFailed(circuit, 0, 0, policy)
    assert.equal(circuitState(circuit, 0), 'open')
    const before = circuit.retryAt
    checkFailed(circuit, 1, 0, policy)
    assert.equal(circuit.retryAt, before, 'an open one keeps its pause')
    checkFailed(circuit, before, 0, policy)
    assert.equal(circuit.retryAt, before + 1_000)
  })
})

test('under any schedule: trials and memory bounded, pauses in bounds, a way back from every state', () => {
  const policies = fc.record({
    failures: fc.integer({ min: 1, max: 5 }),
    windowMs: fc.integer({ min: 1, max: 20_000 }),
    errorRatio: fc.double({ min: 0.01, max: 1, noNaN: true }),
    minRequests: fc.integer({ min: 1, max: 20 }),
    trials: fc.integer({ min: 1, max: 4 }),
    trialSuccesses: fc.integer({ min: 1, max: 3 }),
    trialMaxMs: fc.integer({ min: 1, max: 30_000 }),
    initialMs: fc.integer({ min: 1, max: 1_000 }),
    maxMs: fc.integer({ min: 1_000, max: 60_000 }),
    rampMs: fc.integer({ min: 1, max: 30_000 })
  })
  const step = fc.oneof(
    fc.record({ do: fc.constant('start' as const) }),
    fc.record({ do: fc.constant('finish' as const), which: fc.nat(), outcome: fc.constantFrom<Outcome>('ok', 'error', 'timeout', 'corrupt', 'aborted'), again: fc.boolean() }),
    fc.record({ do: fc.constant('check' as const), passed: fc.boolean() }),
    fc.record({ do: fc.constant('wait' as const), ms: fc.oneof(fc.nat(50), fc.nat(5_000), fc.nat(100_000)) })
  )
  fc.assert(fc.property(policies, fc.array(fc.tuple(step, random01), { maxLength: 300, size: 'max' }), (limits, steps) => {
    const circuit = newCircuit()
    const pending: CircuitAttempt[] = []
    let now = 0
    for (const [action, random] of steps) {
      const before = { state: circuitState(circuit, now), epoch: circuit.epoch }
      if (action.do === 'wait') {
        now += action.ms
        continue
      }
      if (action.do === 'start') {
        const free = before.state === 'half-open' && mayTry(circuit, now, limits)
        const attempt = startAttempt(circuit, now, limits)
        assert.equal(attempt.trial, free)
        pending.push(attempt)
      } else if (action.do === 'check') {
        if (action.passed) checkPassed(circuit, now)
        else checkFailed(circuit, now, random, limits)
      } else if (pending.length > 0) {
        const position = action.which % pending.length
        const attempt = pending[position]
        assert.ok(attempt !== undefined)
        recordOutcome(circuit, attempt, action.outcome, now, random, limits)
        if (action.outcome === 'corrupt') assert.notEqual(circuitState(circuit, now), 'closed')
        if (!action.again) pending.splice(position, 1)
      }
      assert.ok(circuit.trials.size <= limits.trials, 'trials at the same time')
      assert.equal(circuit.slices.length, 10)
      const state = circuitState(circuit, now)
      if (state === 'closed') assert.equal(mayTry(circuit, now, limits), true)
      if (circuit.epoch !== before.epoch) {
        assert.notEqual(before.state, 'open', 'an open circuit does not open again')
        const pause = circuit.retryAt - now
        assert.ok(pause >= limits.initialMs / 2 - 1e-6 && pause <= limits.maxMs + 1e-6, `pause of ${pause} ms`)
      }
      const share = weight(circuit, now, limits)
      assert.ok(share > 0 && share <= 1)
    }
    // The longest pause and lost trials later, good answers bring it back.
    now = Math.max(now, circuit.retryAt) + limits.trialMaxMs
    for (let n = 0; n < limits.trialSuccesses; n++) recordOutcome(circuit, startAttempt(circuit, now, limits), 'ok', now, 0, limits)
    assert.equal(circuitState(circuit, now), 'closed')
    assert.equal(weight(circuit, now + limits.rampMs + 1, limits), 1, 'a ms for rounding')
  }), { numRuns: 500 })
})
