import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { GROW_AFTER, SHRINK_AFTER, Steps, type SizingFacts, type SizeStep } from '../../../../src/plugins/sizing/steps.ts'

const OPTIONS = { minBytes: 1_000, maxBytes: 10_000, keepFreeBytes: 500, gainPoints: 0.5 }
/** Ten points for each 1,000 bytes. */
const WORTH = (bytes: number): number => bytes / 10_000
const FLAT = (): number => 0.6

function facts (change: Partial<SizingFacts> = {}): SizingFacts {
  return { bytes: 4_000, usedBytes: 4_000, freeBytes: 100_000, byteHitRatioAt: WORTH, ...change }
}

function looks (count: number, change: Partial<SizingFacts>, steps = new Steps(OPTIONS)): (SizeStep | undefined)[] {
  return Array.from({ length: count }, () => steps.look(facts(change)))
}

test('grows by a tenth once that has been worth it several times in a row', () => {
  assert.deepEqual(looks(GROW_AFTER, {}), [undefined, undefined, { bytes: 4_400, reason: 'gain' }])
})

test('does not grow for too little, before it is full, beyond its bound, without room on the disk, or before enough was seen', () => {
  const little = (bytes: number): number => 0.5 + bytes / 1e6
  for (const change of [{ byteHitRatioAt: little }, { usedBytes: 3_000 }, { bytes: 10_000, usedBytes: 10_000 }, { freeBytes: 1_200 }, { freeBytes: undefined }, { byteHitRatioAt: undefined }]) {
    assert.deepEqual(looks(GROW_AFTER, change), [undefined, undefined, undefined], JSON.stringify(change))
  }
})

test('shrinks by a tenth once the last tenth has been of no use for long', () => {
  const all = looks(SHRINK_AFTER, { byteHitRatioAt: FLAT })
  assert.deepEqual(all.at(-1), { bytes: 3_600, reason: 'no-gain' })
  assert.ok(all.slice(0, -1).every(step => step === undefined))
  assert.deepEqual(looks(SHRINK_AFTER, { byteHitRatioAt: FLAT, bytes: 1_000 }).at(-1), undefined)
})

test('gives the disk back immediately what others need of it', () => {
  assert.deepEqual(looks(1, { freeBytes: 100 }), [{ bytes: 3_600, reason: 'disk' }])
  assert.deepEqual(looks(1, { freeBytes: 0, usedBytes: 1_100 }), [{ bytes: 1_000, reason: 'disk' }])
  // It is as small already.
  assert.deepEqual(looks(1, { freeBytes: 0, bytes: 1_000, usedBytes: 1_000 }), [undefined])
})

test('comes into its bounds', () => {
  assert.deepEqual(looks(1, { bytes: 50 }), [{ bytes: 1_000, reason: 'bounds' }])
  assert.deepEqual(looks(1, { bytes: 20_000 }), [{ bytes: 10_000, reason: 'bounds' }])
})

test('one look that says otherwise begins the count anew', () => {
  const steps = new Steps(OPTIONS)
  looks(GROW_AFTER - 1, {}, steps)
  looks(1, { usedBytes: 100 }, steps)
  assert.deepEqual(looks(GROW_AFTER - 1, {}, steps), [undefined, undefined])
})

test('never leaves its bounds, grows only into room that is there, and settles on a curve that does not change', () => {
  const knee = fc.integer({ min: 500, max: 20_000 })
  fc.assert(fc.property(knee, fc.integer({ min: 1_000, max: 10_000 }), fc.integer({ min: 0, max: 20_000 }), (at, start, disk) => {
    const steps = new Steps(OPTIONS)
    const sizes = [start]
    for (let n = 0; n < 400; n++) {
      const bytes = sizes.at(-1) ?? 0
      const free = Math.max(0, disk - bytes)
      const step = steps.look({ bytes, usedBytes: bytes, freeBytes: free, byteHitRatioAt: size => Math.min(size, at) / at })
      if (step === undefined) continue
      assert.ok(step.bytes >= OPTIONS.minBytes && step.bytes <= OPTIONS.maxBytes)
      if (step.reason === 'gain') assert.ok(disk - step.bytes >= OPTIONS.keepFreeBytes)
      sizes.push(step.bytes)
    }
    // Up, or down, and at most one step back.
    const turns = sizes.slice(2).filter((size, n) => (size - (sizes[n + 1] ?? 0)) * ((sizes[n + 1] ?? 0) - (sizes[n] ?? 0)) < 0)
    assert.ok(turns.length <= 1, sizes.join(' '))
  }), { numRuns: 100 })
})
