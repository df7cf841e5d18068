import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { deferred } from '../../../../src/base/deferred.ts'
import { RelayError } from '../../../../src/base/errors.ts'
import { HealthChecks, type HealthTarget } from '../../../../src/plugins/upstream/health-checks.ts'
import { virtualTimers, type VirtualTimers } from '../../../fakes/timers.ts'

const LIMITS = { intervalMs: 10_000, timeoutMs: 1_000, backoff: { initialMs: 1_000, maxMs: 60_000 } }

interface Node extends HealthTarget {
  /** What the next checks do; 'deaf' never ends and ignores its signal. */
  mode: 'good' | 'bad' | 'silent' | 'deaf' | 'lack'
  readonly begun: number[]
  readonly results: string[]
  underWay: number
  mostUnderWay: number
}

function node (id: string, timers: VirtualTimers, mode: Node['mode'] = 'good'): Node {
  const self: Node = {
    id,
    mode,
    begun: [],
    results: [],
    underWay: 0,
    mostUnderWay: 0,
    check: async signal => {
      self.begun.push(timers.now())
      self.mostUnderWay = Math.max(self.mostUnderWay, ++self.underWay)
      try {
        if (self.mode === 'bad') throw new Error('connection refused')
        if (self.mode === 'lack') throw new RelayError('RELAY_ERR_LOCAL_LACK', 'the relay is short of descriptors or memory')
        if (self.mode === 'deaf') await new Promise(() => {})
        if (self.mode === 'silent') {
          await new Promise((_resolve, reject) => {
            signal.addEventListener('abort', () => { reject(signal.reason instanceof Error ? signal.reason : new Error('aborted')) }, { once: true })
          })
        }
      } finally {
        self.underWay--
      }
    },
    passed: ms => { self.results.push(`passed ${ms}`) },
    failed: error => { self.results.push(error instanceof RelayError ? error.code : String(error)) }
  }
  return self
}

test('a healthy node is checked within a second of the start and then every interval, ±20 %', async () => {
  for (const [random, first, interval] of [[0, 0, 8_000], [0.5, 500, 10_000], [0.999, 999, 11_996]] as const) {
    const timers = virtualTimers()
    const checks = new HealthChecks({ ...LIMITS, random: () => random, timers })
    const good = node('a', timers)
    checks.add(good)
    await timers.pass(first + 3 * interval + 1)
    const gaps = good.begun.map((at, n) => Math.round(at - (good.begun[n - 1] ?? 0)))
    assert.deepEqual(gaps, [first, interval, interval, interval])
    assert.deepEqual(good.results, Array(4).fill('passed 0'))
    checks.close()
    assert.equal(timers.waiting, 0)
  }
})

test('a check that never left for want of a descriptor is not a result, and the next one is no later for it', async () => {
  const timers = virtualTimers()
  const checks = new HealthChecks({ ...LIMITS, random: () => 0, timers })
  const unasked = node('a', timers, 'lack')
  checks.add(unasked)
  await timers.pass(80_000)
  assert.deepEqual(unasked.begun, Array.from({ length: 11 }, (_, n) => n * 8_000))
  assert.deepEqual(unasked.results, [])
  unasked.mode = 'bad'
  await timers.pass(8_500)
  assert.deepEqual(unasked.results, ['Error: connection refused', 'Error: connection refused'])
  checks.close()
})

test('a failing node is checked with growing pauses, capped, and by the interval again after a good check', async () => {
  const timers = virtualTimers()
  const checks = new HealthChecks({ ...LIMITS, random: () => 0, timers })
  const bad = node('a', timers, 'bad')
  checks.add(bad)
  await timers.pass(200_000)
  const gaps = bad.begun.map((at, n) => at - (bad.begun[n - 1] ?? 0))
  assert.deepEqual(gaps.slice(0, 10), [0, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000])
  bad.mode = 'good'
  await timers.pass(30_000)
  assert.equal(bad.results.at(-1), 'passed 0')
  const count = bad.begun.length
  await timers.pass(8_000)
  assert.equal(bad.begun.length, count + 1)
  checks.close()
})

test('a node that does not answer fails after the timeout', async () => {
  const timers = virtualTimers()
  const checks = new HealthChecks({ ...LIMITS, random: () => 0, timers })
  const silent = node('a', timers, 'silent')
  checks.add(silent)
  await timers.pass(999)
  assert.deepEqual(silent.results, [])
  await timers.pass(1)
  assert.deepEqual(silent.results, ['RELAY_ERR_UPSTREAM_TIMEOUT'])
  assert.equal(silent.underWay, 0)
  await timers.pass(500)
  assert.equal(silent.begun.length, 2)
  checks.close()
})

test('a check that ignores its signal fails once and is never doubled', async () => {
  const timers = virtualTimers()
  const checks = new HealthChecks({ ...LIMITS, random: () => 0, timers })
  const deaf = node('a', timers, 'deaf')
  checks.add(deaf)
  await timers.pass(1_000_000)
  assert.deepEqual(deaf.results, ['RELAY_ERR_UPSTREAM_TIMEOUT'])
  assert.equal(deaf.begun.length, 1)
  checks.close()
  assert.equal(timers.waiting, 0)
})

test('hasten brings the next check forward, never back, and starts no second one', async () => {
  const timers = virtualTimers()
  const checks = new HealthChecks({ ...LIMITS, random: () => 0, timers })
  const good = node('a', timers)
  checks.add(good)
  await timers.pass(0)
  checks.hasten('a', 700)
  checks.hasten('a', 9_000)
  checks.hasten('unknown', 0)
  assert.equal(timers.waiting, 1)
  await timers.pass(700)
  assert.deepEqual(good.begun, [0, 700])
  good.mode = 'silent'
  await timers.pass(8_000)
  checks.hasten('a', 0)
  await timers.pass(10)
  assert.equal(good.begun.length, 3)
  assert.equal(good.mostUnderWay, 1)
  checks.close()
})

test('a node that is removed, even while it is checked or by its own callback, hears nothing any more', async () => {
  const timers = virtualTimers()
  const checks = new HealthChecks({ ...LIMITS, random: () => 0, timers })
  const silent = node('a', timers, 'silent')
  checks.add(silent)
  await timers.pass(10)
  checks.remove('a')
  await timers.pass(100_000)
  assert.deepEqual(silent.results, [])
  assert.equal(silent.underWay, 0)
  const answer = deferred<void>()
  const late = { ...node('c', timers), check: async () => { await answer.promise } }
  checks.add(late)
  await timers.pass(10)
  checks.remove('c')
  answer.resolve()
  await timers.pass(100_000)
  assert.deepEqual(late.results, [], 'an answer that comes too late')
  const once = node('b', timers)
  checks.add({ ...once, passed: () => { checks.remove('b') } })
  await timers.pass(100_000)
  assert.equal(once.begun.length, 1)
  assert.equal(timers.waiting, 0)
})

test('a node added under the same id replaces the one before', async () => {
  const timers = virtualTimers()
  const checks = new HealthChecks({ ...LIMITS, random: () => 0, timers })
  const [before, after] = [node('a', timers, 'silent'), node('a', timers)]
  checks.add(before)
  await timers.pass(10)
  checks.add(after)
  await timers.pass(100)
  assert.equal(checks.size, 1)
  assert.deepEqual([before.results, after.results], [[], ['passed 0']])
  checks.close()
})

test('close aborts what is under way, leaves no timer, and nothing begins afterwards', async () => {
  const timers = virtualTimers()
  const checks = new HealthChecks({ ...LIMITS, random: () => 0.5, timers })
  const nodes = [node('a', timers, 'silent'), node('b', timers), node('c', timers, 'deaf')]
  for (const each of nodes) checks.add(each)
  await timers.pass(600)
  checks.close()
  checks.close()
  checks.add(node('d', timers))
  checks.hasten('b', 0)
  assert.equal(timers.waiting, 0)
  assert.equal(checks.size, 0)
  const begun = nodes.map(each => each.begun.length)
  await timers.pass(1_000_000)
  assert.deepEqual(nodes.map(each => each.begun.length), begun)
  assert.deepEqual(nodes.map(each => each.results), [[], ['passed 0'], []])
})

test('under any schedule: one check of a node at a time, at most one timer per node, pauses in bounds', async () => {
  const step = fc.record({
    id: fc.constantFrom('a', 'b', 'c'),
    do: fc.constantFrom<'add' | 'remove' | 'hasten' | 'good' | 'bad' | 'silent' | 'wait'>('add', 'remove', 'hasten', 'good', 'bad', 'silent', 'wait', 'wait'),
    ms: fc.oneof(fc.nat(2_000), fc.nat(60_000))
  })
  const draws = fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), { minLength: 1, maxLength: 20 })
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), draws, async (steps, values) => {
    const timers = virtualTimers()
    let drawn = 0
    const checks = new HealthChecks({ ...LIMITS, random: () => values[drawn++ % values.length] ?? 0, timers })
    const nodes: Node[] = []
    const hastened = new Set<Node>()
    const watched = new Map<string, Node>()
    for (const { id, do: action, ms } of steps) {
      const current = watched.get(id)
      if (action === 'wait') await timers.pass(ms)
      else if (action === 'add') {
        const fresh = node(id, timers)
        nodes.push(fresh)
        watched.set(id, fresh)
        checks.add(fresh)
      } else if (current === undefined) continue
      else if (action === 'remove') {
        checks.remove(id)
        watched.delete(id)
      } else if (action === 'hasten') {
        checks.hasten(id, ms)
        hastened.add(current)
      } else current.mode = action
      assert.equal(checks.size, watched.size)
      assert.equal(timers.waiting, checks.size, 'one timer per node: the next check, or the timeout of the one under way')
    }
    await timers.pass(61_001)
    for (const each of watched.values()) assert.ok(each.begun.length > 0 && timers.now() - (each.begun.at(-1) ?? 0) <= 61_001, 'nobody is forgotten')
    checks.close()
    assert.equal(timers.waiting, 0)
    for (const each of nodes) {
      assert.ok(each.mostUnderWay <= 1, 'checks at the same time')
      // From begin to begin: the pause and at most the timeout.
      if (hastened.has(each)) continue
      each.begun.slice(1).forEach((at, n) => {
        const gap = at - (each.begun[n] ?? 0)
        assert.ok(gap >= 500 - 1e-6 && gap <= 61_000 + 1e-6, `${gap} ms`)
      })
    }
  }), { numRuns: 200 })
})
