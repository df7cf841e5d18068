import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { RenditionAdvice, type Rendition } from '../../../src/pacing/rendition-ladder.ts'

const LADDER: readonly Rendition[] = [
  { name: '480p', min_bps: 1_000_000 },
  { name: '720p', min_bps: 2_500_000 },
  { name: '1080p', min_bps: 5_000_000 }
]

test('the first suggestion is what fits; below the lowest rendition it is the lowest, without a limit the highest', () => {
  for (const [share, name] of [[1, '480p'], [1_660_000, '480p'], [2_499_999, '480p'], [2_500_000, '720p'], [3_330_000, '720p'], [9e9, '1080p'], [undefined, '1080p']] as const) {
    const advice = new RenditionAdvice(LADDER)
    assert.equal(advice.update(share, 0)?.name, name)
    assert.equal(advice.update(share, 1), undefined)
    assert.equal(advice.current?.name, name)
  }
})

test('down immediately below 95 % of what the rendition needs, up immediately from 110 %, over several rungs too', () => {
  const advice = new RenditionAdvice(LADDER)
  advice.update(3e6, 0)
  assert.equal(advice.update(2_380_000, 1), undefined)
  assert.equal(advice.update(2_370_000, 2)?.name, '480p')
  assert.equal(advice.update(2_740_000, 3), undefined)
  assert.equal(advice.update(2_750_000, 4)?.name, '720p')
  assert.equal(advice.update(100_000, 5)?.name, '480p')
  assert.equal(advice.update(5_500_000, 6)?.name, '1080p')
})

test('a share that is just enough is believed after ten seconds without a break', () => {
  const advice = new RenditionAdvice(LADDER)
  advice.update(2e6, 0)
  assert.equal(advice.update(2_600_000, 1000), undefined)
  assert.equal(advice.update(2_600_000, 10_999), undefined)
  assert.equal(advice.update(2_400_000, 11_000), undefined)
  assert.equal(advice.update(2_600_000, 12_000), undefined)
  assert.equal(advice.update(2_600_000, 21_999), undefined)
  assert.equal(advice.update(2_600_000, 22_000)?.name, '720p')
})

test('a share that jitters round a threshold changes the suggestion once at most', () => {
  const shares = fc.array(fc.record({ part: fc.double({ min: 0.951, max: 1.099, noNaN: true }), ms: fc.integer({ min: 0, max: 20_000 }) }), { maxLength: 100, size: 'max' })
  fc.assert(fc.property(fc.constantFrom(...LADDER), fc.option(fc.double({ min: 0, max: 1e7, noNaN: true }), { nil: undefined }), shares, (rung, before, history) => {
    const advice = new RenditionAdvice(LADDER)
    let now = 0
    if (before !== undefined) advice.update(before, now)
    let changes = 0
    for (const { part, ms } of history) {
      now += ms
      if (advice.update(rung.min_bps * part, now) !== undefined) changes += 1
    }
    // The first may be a change into the band, the second one across the threshold.
    assert.ok(changes <= 2, `${changes} changes`)
  }), { numRuns: 500 })
})

test('any shares: the suggestion is said only when it changes, never for more than the share is good for, and follows a share that is clear', () => {
  fc.assert(fc.property(fc.array(fc.record({ share: fc.option(fc.double({ min: 0, max: 1e7, noNaN: true }), { nil: undefined }), ms: fc.integer({ min: 0, max: 20_000 }) }), { minLength: 1, maxLength: 100, size: 'max' }), history => {
    const advice = new RenditionAdvice(LADDER)
    let now = 0
    for (const { share, ms } of history) {
      now += ms
      const before = advice.current
      const said = advice.update(share, now)
      assert.equal(said, advice.current === before ? undefined : advice.current)
      const { current } = advice
      assert.ok(current !== undefined)
      assert.ok(current === LADDER[0] || (share ?? Infinity) >= current.min_bps * 0.95)
      const above = LADDER[LADDER.indexOf(current) + 1]
      assert.ok(above === undefined || (share ?? Infinity) < above.min_bps * 1.1)
    }
  }), { numRuns: 500 })
})

test('a ladder without renditions, or out of order, is refused', () => {
  assert.throws(() => new RenditionAdvice([]), /one rendition at least/)
  assert.throws(() => new RenditionAdvice([...LADDER].reverse()), /more bits per second/)
})
