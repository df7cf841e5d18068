import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { isLocalLack } from '../../../../src/base/errors.ts'
import { Descriptors } from '../../../../src/plugins/limits/descriptors.ts'
import { MAX_REFUSALS, RefusalCounts } from '../../../../src/plugins/limits/refusal-counts.ts'
import { descriptorLimit, openDescriptors, residentBytes } from '../../../../src/base/process-use.ts'
import { attemptOutcome, circuitOutcome } from '../../../../src/plugins/upstream/outcomes.ts'
import { translate } from '../../../../src/plugins/upstream/failure.ts'

const wait = async (): Promise<never> => await new Promise(() => {})

suite('descriptors', () => {
  test('no use takes what is kept from it, however many come between two counts', () => {
    fc.assert(fc.property(fc.integer({ min: 64, max: 20_000 }), fc.array(fc.constantFrom('connection', 'refusal', 'miss', 'hit', 'later', 'close'), { maxLength: 400 }), (limit, steps) => {
      let open = Math.ceil(limit / 2)
      let now = 0
      const descriptors = new Descriptors({ limit, count: () => open, now: () => now, wait })
      const kept = { connection: 5 / 16, refusal: 4 / 16, miss: 3 / 16, hit: 2 / 16 }
      const admit = { connection: () => descriptors.admitConnection(), refusal: () => descriptors.admitRefusal(), miss: () => descriptors.admitMiss(), hit: () => descriptors.admitHit() === true }
      for (const step of steps) {
        if (step === 'later') now += 50
        else if (step === 'close') open = Math.max(0, open - 1)
        else if (admit[step]()) {
          open += step === 'miss' ? 2 : 1
          assert.ok(open <= limit - Math.min(2_048, limit * 5 / 16) * kept[step] / kept.connection, `${open} of ${limit} with a ${step}`)
        }
      }
    }))
  })

  test('of 512 with 100 in use, connections get 252, refusals 32 more, misses 16 times 2 and hits 32; the share is of all those', () => {
    const descriptors = new Descriptors({ limit: 512, count: () => 100, now: () => 0, wait })
    const counts = [() => descriptors.admitConnection(), () => descriptors.admitRefusal(), () => descriptors.admitMiss(), () => descriptors.admitHit() === true].map(admit => {
      let admitted = 0
      while (admit()) admitted++
      return admitted
    })
    assert.deepEqual(counts, [252, 32, 16, 32])
    assert.equal(descriptors.share, 1)
  })

  test('a hit waits for a descriptor until one is free, and half a second at most', async () => {
    let now = 0
    let open = 448
    const descriptors = new Descriptors({
      limit: 512,
      count: () => open,
      now: () => now,
      wait: async ms => {
        now += ms
        if (now === 200) open = 447
      }
    })
    assert.equal(await descriptors.admitHit(), true)
    assert.equal(now, 200)
    assert.equal(await descriptors.admitHit(), true)
    open = 448
    assert.equal(await descriptors.admitHit(), false)
    assert.equal(now, 750)
  })

  test('nobody is refused where the system does not tell', () => {
    const descriptors = new Descriptors({ limit: undefined, count: () => undefined, now: () => 0, wait })
    assert.deepEqual([descriptors.admitConnection(), descriptors.admitRefusal(), descriptors.admitMiss(), descriptors.admitHit(), descriptors.share], [true, true, true, true, undefined])
  })

  test('this process is measured', () => {
    const limit = descriptorLimit() ?? 0
    assert.ok(limit > 0 && (openDescriptors(limit) ?? 0) > 2 && residentBytes() > 1_000_000)
  })
})

test('what never left for want of a descriptor is not a failure of the super-node', () => {
  for (const code of ['EMFILE', 'ENFILE', 'ENOSPC', 'ENOMEM', 'EADDRNOTAVAIL']) {
    const error = Object.assign(new Error(code), { code })
    assert.equal(isLocalLack(error), true)
    const known = translate(error, 'node', new AbortController().signal)
    assert.deepEqual([known.code, known.status, attemptOutcome(known)], ['RELAY_ERR_LOCAL_LACK', 503, 'local'])
    assert.equal(isLocalLack(known), true)
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
