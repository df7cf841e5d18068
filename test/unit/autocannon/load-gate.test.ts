import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { BANDS, bandOf, explain, isTooNoisy, judge, parseBaseline, summarise, valuesOf, type Verdict } from '../../../autocannon/baseline/compare.ts'
import { groupsOf, joined, medians, ratiosNamed, traitOf } from '../../../autocannon/baseline/measure.ts'
import { GROUPS } from '../../../autocannon/baseline/ratios.ts'
import { median } from '../../../tools/harness/median.ts'

const COST = { better: 'lower', kind: 'cpu' } as const
const calm = summarise(COST, [2, 2.1, 1.9])
const noisy = summarise(COST, [1, 1.4375, 0.8])
const late = summarise({ better: 'lower', kind: 'time' }, [2, 2.1, 1.9])

function only (verdicts: readonly Verdict[]): Verdict {
  const [verdict] = verdicts
  assert.ok(verdict !== undefined && verdicts.length === 1)
  return verdict
}

suite('comparison with a baseline', () => {
  test('median, and the largest distance from it', () => {
    assert.deepEqual(summarise({ better: 'higher', kind: 'time' }, [4, 1, 2, 3]), { better: 'higher', kind: 'time', median: 2.5, spread: 0.6, values: [4, 1, 2, 3] })
    assert.equal(median([]), NaN)
    for (const bad of [[], [1, NaN], [0, 1], [-1], [Infinity]]) assert.throws(() => summarise(COST, bad), RangeError)
  })

  test('the band follows the noise, between its bounds', () => {
    assert.equal(bandOf(calm), BANDS.cpu.min)
    assert.equal(bandOf(noisy), 0.875)
    assert.equal(bandOf({ spread: 3, kind: 'cpu' }), BANDS.cpu.max)
    assert.equal(bandOf(late), BANDS.time.min)
    assert.equal(bandOf({ spread: 3, kind: 'time' }), BANDS.time.max)
    assert.equal(isTooNoisy({ spread: 0.5, kind: 'cpu' }), true)
    assert.equal(isTooNoisy({ spread: 0.5, kind: 'time' }), false)
    assert.equal(isTooNoisy(noisy), false)
  })

  test('worse beyond the band fails in the direction that is worse, and only there', () => {
    const higher = summarise({ better: 'higher', kind: 'time' }, [10, 10, 10])
    const cases = [
      [calm, 3.59, true], [calm, 3.61, false], [calm, 0.01, true],
      [late, 3.99, true], [late, 4.01, false],
      [higher, 5.1, true], [higher, 4.9, false], [higher, 100, true],
      [noisy, 1.87, true], [noisy, 1.88, false]
    ] as const
    for (const [ratio, value, ok] of cases) assert.equal(only(judge({ ratios: { it: ratio } }, { it: value })).ok, ok, `${ratio.better} ${ratio.median}: ${value}`)
  })

  test('a doubled cost and a tripled time are always found, whatever the noise', () => {
    fc.assert(fc.property(fc.constantFrom('lower' as const, 'higher' as const), fc.constantFrom('cpu' as const, 'time' as const), fc.array(fc.double({ min: 0.01, max: 100, noNaN: true }), { minLength: 1, maxLength: 12 }), (better, kind, values) => {
      const ratio = summarise({ better, kind }, values)
      const times = kind === 'cpu' ? 2 : 3
      const multiplied = better === 'lower' ? ratio.median * times : ratio.median / times
      assert.equal(only(judge({ ratios: { it: ratio } }, { it: multiplied })).ok, false)
      assert.equal(only(judge({ ratios: { it: ratio } }, { it: ratio.median })).ok, true)
      // What is within the floor of the band passes.
      const slightly = better === 'lower' ? ratio.median * 1.59 : ratio.median / 1.59
      assert.equal(only(judge({ ratios: { it: ratio } }, { it: slightly })).ok, true)
    }))
  })

  test('a ratio that one side lacks, and one that is not a number, fail', () => {
    const [missing, unknown] = judge({ ratios: { old: calm } }, { new: 1 })
    assert.deepEqual([missing?.ok, unknown?.ok], [false, false])
    assert.equal(only(judge({ ratios: { it: calm } }, { it: NaN })).ok, false)
  })

  test('the explanation says which, by how much, and what was allowed', () => {
    assert.equal(explain(only(judge({ ratios: { 'hit-cpu': calm } }, { 'hit-cpu': 4 }))), 'FAIL hit-cpu            4.000 (baseline 2.000, lower is better): 100 % worse, allowed 80 %')
    assert.match(explain(only(judge({ ratios: { it: calm } }, { it: 1 }))), /^ok +it .* 50 % better/)
    assert.match(explain(only(judge({ ratios: {} }, { it: 1 }))), /FAIL it .*npm run load:baseline/)
    assert.match(explain(only(judge({ ratios: { it: calm } }, {}))), /FAIL it .*not measured/)
  })
})

suite('the baseline file', () => {
  test('is complete: every ratio of every group, and no other', async () => {
    const baseline = parseBaseline(await readFile(new URL('../../../autocannon/baseline.json', import.meta.url), 'utf8'))
    assert.deepEqual(Object.keys(baseline.ratios).sort(), GROUPS.flatMap(({ ratios }) => Object.keys(ratios)).sort())
    for (const [name, { better, kind, median: middle, values, spread }] of Object.entries(baseline.ratios)) {
      const { better: direction, kind: of } = traitOf(name)
      assert.deepEqual([better, kind], [direction, of], name)
      assert.deepEqual({ ...summarise({ better, kind }, values) }, { better, kind, median: middle, spread, values }, name)
    }
  })

  test('what is not a baseline is refused by name', () => {
    const ratio = { better: 'lower', kind: 'cpu', median: 1, spread: 0.1, values: [1] }
    const cases: ReadonlyArray<readonly [string, RegExp]> = [
      ['{', /not JSON/],
      ['[]', /not of version 1/],
      ['{"version":2,"ratios":{}}', /not of version 1/],
      ['{"version":1}', /not of version 1/],
      [JSON.stringify({ version: 1, ratios: { 'hit-cpu': { ...ratio, better: 'sideways' } } }), /"hit-cpu"/],
      [JSON.stringify({ version: 1, ratios: { 'hit-cpu': { ...ratio, kind: 'unkind' } } }), /"hit-cpu"/],
      [JSON.stringify({ version: 1, ratios: { 'hit-cpu': { ...ratio, median: 0 } } }), /"hit-cpu"/],
      [JSON.stringify({ version: 1, ratios: { 'hit-cpu': { ...ratio, spread: 'wide' } } }), /"hit-cpu"/],
      [JSON.stringify({ version: 1, ratios: { 'hit-cpu': { ...ratio, values: ['1'] } } }), /"hit-cpu"/],
      [JSON.stringify({ version: 1, ratios: { 'hit-cpu': null } }), /"hit-cpu"/]
    ]
    for (const [text, message] of cases) assert.throws(() => parseBaseline(text), error => error instanceof Error && message.test(error.message) && /load:baseline/.test(error.message), text)
    assert.deepEqual(Object.keys(parseBaseline(JSON.stringify({ version: 1, ratios: { 'hit-cpu': ratio } })).ratios), ['hit-cpu'])
  })

  test('repetitions of other days stay beside new ones, the newest of them and not without end', () => {
    const values = Array.from({ length: 50 }, (_, n) => 1 + n / 100)
    const kept = valuesOf({ ratios: { 'hit-cpu': summarise(COST, values) } }, 'hit-cpu')
    assert.deepEqual(kept, values.slice(14))
    assert.deepEqual([valuesOf(undefined, 'hit-cpu'), valuesOf({ ratios: {} }, 'hit-cpu')], [[], []])
  })

  test('no text makes the reader fail in another way', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), text => {
      try {
        parseBaseline(text)
      } catch (error) {
        assert.match(error instanceof Error ? error.message : '', /baseline/)
      }
    }))
  })
})

test('ratios by their names and by those of groups; rounds that are joined keep their medians', () => {
  assert.deepEqual(ratiosNamed([]), GROUPS.flatMap(({ ratios }) => Object.keys(ratios)))
  assert.deepEqual(ratiosNamed(['wt-cpu', 'miss', 'hit-cpu']), ['hit-cpu', 'miss-p50', 'miss-cpu', 'wt-cpu'])
  assert.throws(() => ratiosNamed(['hits']), /known are hit hit-cpu/)
  assert.deepEqual(groupsOf(['miss-cpu']).map(({ name }) => name), ['miss'])
  assert.deepEqual(medians(joined({ a: [1, 2, 9], b: [1] }, { a: [3, 4] })), { a: 3, b: 1 })
})
