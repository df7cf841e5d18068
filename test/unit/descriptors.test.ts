import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { isLocalLack } from '../../src/errors.ts'
import { Descriptors } from '../../src/limits/descriptors.ts'
import { MAX_REFUSALS, RefusalCounts } from '../../src/limits/refusal-counts.ts'
import { descriptorLimit, openDescriptors, residentBytes } from '../../src/process-use.ts'
import { attemptOutcome, circuitOutcome } from '../../src/upstream/outcomes.ts'
import { translate } from '../../src/upstream/failure.ts'

suite('descriptors', () => {
  test('the last eighth is never for viewers, the eighth before it not for their connections, however many come between two counts', () => {
    fc.assert(fc.property(fc.integer({ min: 64, max: 4_096 }), fc.array(fc.constantFrom('connection', 'request', 'later', 'close'), { maxLength: 400 }), (limit, steps) => {
      let open = Math.ceil(limit / 2)
      let now = 0
      const descriptors = new Descriptors({ limit, count: () => open, now: () => now })
      for (const step of steps) {
        if (step === 'later') now += 50
        else if (step === 'close') open = Math.max(0, open - 1)
        else if (step === 'connection' ? descriptors.admitConnection() : descriptors.admitRequest()) open++
        assert.ok(open <= limit - Math.ceil(limit / 8), `${open} of ${limit}`)
      }
    }))
    const connections = new Descriptors({ limit: 512, count: () => 100, now: () => 0 })
    let admitted = 0
    while (connections.admitConnection()) admitted++
    assert.equal(admitted, 284)
    assert.equal(connections.spent, false)
    while (connections.admitRequest()) admitted++
    assert.equal(admitted, 348)
    assert.equal(connections.spent, true)
  })

  test('nobody is refused where the system does not tell', () => {
    const descriptors = new Descriptors({ limit: undefined, count: () => undefined, now: () => 0 })
    assert.deepEqual([descriptors.admitConnection(), descriptors.admitRequest(), descriptors.spent, descriptors.share], [true, true, false, undefined])
  })

  test('this process is measured', () => {
    const limit = descriptorLimit() ?? 0
    assert.ok(limit > 0 && (openDescriptors(limit) ?? 0) > 2 && residentBytes() > 1_000_000)
  })
})

test('what never left for want of a descriptor is no failure of the super-node', () => {
  for (const code of ['EMFILE', 'ENFILE', 'ENOSPC', 'ENOMEM', 'EADDRNOTAVAIL']) {
    const error = Object.assign(new Error(code), { code })
    assert.equal(isLocalLack(error), true)
    const known = translate(error, 'node', new AbortController().signal)
    assert.deepEqual([known.code, known.status, attemptOutcome(known)], ['RELAY_ERR_LOCAL_LACK', 503, 'local'])
  }
  assert.equal(circuitOutcome('local'), 'aborted')
  assert.equal(translate(Object.assign(new Error(), { code: 'ECONNREFUSED' }), 'node', new AbortController().signal).code, 'RELAY_ERR_UPSTREAM_UNREACHABLE')
})

test('a connection that collects refusals is closed; an answer in between begins the count anew', () => {
  const refusals = new RefusalCounts()
  const connection = {}
  for (let n = 1; n < MAX_REFUSALS; n++) assert.equal(refusals.answered(connection, 429), false)
  assert.equal(refusals.answered(connection, 200), false)
  for (let n = 1; n < MAX_REFUSALS; n++) assert.equal(refusals.answered(connection, 503), false)
  assert.equal(refusals.answered({}, 503), false)
  assert.equal(refusals.answered(connection, 429), true)
})
