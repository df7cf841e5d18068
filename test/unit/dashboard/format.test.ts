import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { agoText, bitRateText, bytesText, countText, durationText, markText, msText, percentText, perSecondText, plural } from '../../../dashboard/src/model/format.ts'

test('numbers with their units', () => {
  assert.deepEqual([0, 999, 1_000, 1_234, 12_345, 999_499, 999_500, 1e12, 1e18].map(bytesText), ['0 B', '999 B', '1 kB', '1.23 kB', '12.3 kB', '999 kB', '1.00 MB', '1 TB', '1000 PB'])
  assert.deepEqual([bytesText(null), bytesText(undefined), bytesText(NaN), bitRateText(1.66e6), bitRateText(0)], ['–', '–', '–', '1.66 Mbit/s', '0 bit/s'])
  assert.deepEqual([0, 12, 1_000, 99_999, 100_000, 1_234_567].map(countText), ['0', '12', '1,000', '99,999', '100 k', '1.23 M'])
  assert.deepEqual([perSecondText(0), perSecondText(0.5), perSecondText(1_234)], ['0/s', '0.50/s', '1,234/s'])
  assert.deepEqual([plural(1, 'miss', 'misses'), plural(0, 'miss', 'misses')], ['1 miss', '0 misses'])
})

test('what is nearly all is not all, and less than nothing has a sign', () => {
  assert.deepEqual([0, 0.5, 0.705, 0.99, 0.9999, 0.999_999, 1, -0.534, null].map(percentText), ['0 %', '50.0 %', '70.5 %', '99.00 %', '99.99 %', '>99.99 %', '100 %', '−53.4 %', '–'])
})

test('times', () => {
  assert.deepEqual([0.000_5, 0.0482, 1.5, 59, 60, 3_599, 3_600, 7_260, 200_000].map(durationText), ['0.50 ms', '48.2 ms', '1.50 s', '59 s', '1 min', '59 min', '1 h 0 min', '2 h 1 min', '2 d 7 h'])
  assert.deepEqual([msText(null), msText(284)], ['–', '284 ms'])
  assert.deepEqual([agoText(0, 61_000), agoText(61_000, 0), agoText(10, 500)], ['1 min ago', 'in 1 min', 'just now'])
})

test('marks of axes have no zeros that say nothing, and keep those that do', () => {
  assert.deepEqual(['50.0 %', '1.20 GB', '100 %', '0 bit/s', '2 GB', '14:00:00', '1.00 MB', '10'].map(markText), ['50 %', '1.2 GB', '100 %', '0 bit/s', '2 GB', '14:00:00', '1 MB', '10'])
})

test('no number makes a text that is long or strange', () => {
  fc.assert(fc.property(fc.double(), value => {
    for (const text of [bytesText, bitRateText, countText, percentText, durationText]) {
      const made = text(value)
      assert.ok(made.length > 0 && !/NaN|undefined|Infinity/.test(made) && (Math.abs(value) > 1e15 || made.length < 26), `${value}: ${made}`)
    }
  }))
})
