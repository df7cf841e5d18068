import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { capacitiesAround } from '../../../../src/plugins/sizing/curve.ts'
import { MAX_WANTED, Miniatures } from '../../../../src/plugins/sizing/miniature.ts'
import { EVICTION_POLICIES } from '../../../../src/storage/orders/orders.ts'
import { generate } from '../../../../tools/cache-simulate/generators.ts'
import { replay } from '../../../../tools/cache-simulate/replay.ts'
import { footprintOf, type Trace } from '../../../../tools/cache-simulate/trace.ts'

const TRACE = generate('zipf', { requests: 120_000, objects: 20_000, alpha: 0.9, seed: 3, bytes: [1_000_000, 10_000_000] })
const CAPACITY = Math.round(footprintOf(TRACE) * 0.05)

/** As a relay whose cache is the largest of the capacities asks and stores. */
function feed (miniatures: Miniatures, { requests, sizes }: Trace): void {
  const stored = new Set<number>()
  for (const object of requests) {
    const [id, size = 0] = [`object-${object}/0`, sizes[object]]
    miniatures.requested(id, stored.has(object) ? size : undefined)
    if (stored.has(object)) continue
    stored.add(object)
    miniatures.stored(id, size)
  }
}

for (const policy of ['lru', 's3-fifo'] as const) {
  test(`${policy}: a sample of one object in four or fewer says what a capacity would bring, and what more of it would`, () => {
    const miniatures = new Miniatures({ policy, capacities: capacitiesAround(CAPACITY), salt: 7, maxSamples: 2_000 })
    feed(miniatures, TRACE)
    assert.ok(miniatures.rate <= 1 / 4, `looked at ${miniatures.rate}`)
    assert.ok(miniatures.samples <= 2_000)
    const [now, double] = [CAPACITY, 2 * CAPACITY].map(bytes => {
      const point = miniatures.curve().find(({ bytes: of }) => of === bytes)
      const whole = replay(TRACE, policy, bytes)
      const [estimated, estimatedBytes] = [point?.hitRatio ?? 0, point?.byteHitRatio ?? 0]
      const [real, realBytes] = [whole.hits / whole.requests, whole.hitBytes / whole.bytes]
      assert.ok(Math.abs(estimated - real) < 0.025, `${bytes}: ${estimated} for ${real}`)
      assert.ok(Math.abs(estimatedBytes - realBytes) < 0.025, `${bytes}: ${estimatedBytes} for ${realBytes}`)
      return { estimated, real }
    })
    assert.ok(now !== undefined && double !== undefined)
    const [gain, realGain] = [double.estimated - now.estimated, double.real - now.real]
    assert.ok(Math.abs(gain - realGain) < 0.015, `${gain} for ${realGain}`)
  })
}

test('what is looked at and what is waited for stay within their bounds, and ratios are ratios that do not fall', () => {
  const event = fc.record({ object: fc.nat(300), size: fc.integer({ min: 1, max: 5_000 }), what: fc.constantFrom('hit', 'miss', 'stored', 'aged') })
  fc.assert(fc.property(fc.constantFrom(...EVICTION_POLICIES), fc.array(event, { minLength: 100, maxLength: 500 }), fc.integer(), (policy, events, salt) => {
    const miniatures = new Miniatures({ policy, capacities: [1_000, 20_000, 200_000], salt, maxSamples: 32 })
    for (const { object, size, what } of events) {
      if (what === 'aged') miniatures.age(0.5)
      else if (what === 'stored') miniatures.stored(`o${object}/0`, size)
      else miniatures.requested(`o${object}/0`, what === 'hit' ? size : undefined)
      assert.ok(miniatures.samples <= 32)
      let least = 0
      for (const { hitRatio, byteHitRatio } of miniatures.curve()) {
        assert.ok(hitRatio >= least && hitRatio <= 1 && byteHitRatio >= 0 && byteHitRatio <= 1)
        least = hitRatio
      }
    }
  }), { numRuns: 50 })
})

test('objects that are asked for and never stored are forgotten, the oldest first', () => {
  const miniatures = new Miniatures({ policy: 'lru', capacities: [1_000_000], salt: 0 })
  for (let n = 0; n < MAX_WANTED + 10; n++) miniatures.requested(`o${n}/0`, undefined)
  assert.equal(miniatures.wanted, MAX_WANTED)
  miniatures.stored('o0/0', 10)
  miniatures.stored(`o${MAX_WANTED}/0`, 10)
  assert.equal(miniatures.samples, 1)
})

test('what nobody has asked for does not count', () => {
  const miniatures = new Miniatures({ policy: 'lru', capacities: [1_000_000], salt: 0 })
  miniatures.stored('ahead/0', 10)
  assert.deepEqual([miniatures.samples, miniatures.requests], [0, 0])
  miniatures.requested('ahead/0', 10)
  miniatures.requested('ahead/0', 10)
  assert.deepEqual(miniatures.curve(), [{ bytes: 1_000_000, hitRatio: 0.5, byteHitRatio: 0.5 }])
})
