import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { RelayError } from '../../../src/base/errors.ts'
import { contentRange, parseRange, parseRangeHeader, resolveRange, unsatisfiedContentRange } from '../../../src/protocol/range.ts'

const syntax = { name: 'RelayError', code: 'RELAY_ERR_RANGE_SYNTAX', status: 400 }
const unsatisfiable = { name: 'RelayError', code: 'RELAY_ERR_RANGE_UNSATISFIABLE', status: 416 }

suite('range header', () => {
  test('the three forms resolve against the size', () => {
    assert.deepEqual(parseRange('bytes=0-99', 1000), { start: 0, end: 100 })
    assert.deepEqual(parseRange('bytes=100-', 1000), { start: 100, end: 1000 })
    assert.deepEqual(parseRange('bytes=-100', 1000), { start: 900, end: 1000 })
    assert.deepEqual(parseRange('bytes=999-999', 1000), { start: 999, end: 1000 })
  })

  test('ends beyond the object are cut, a longer suffix means the whole object', () => {
    assert.deepEqual(parseRange('bytes=10-5000', 1000), { start: 10, end: 1000 })
    assert.deepEqual(parseRange('bytes=-5000', 1000), { start: 0, end: 1000 })
  })

  test('no header, another unit and several ranges mean the whole object', () => {
    for (const header of [undefined, 'items=0-1', 'seconds=abc', 'bytes=0-1,4-5', 'bytes=0-1 , -3']) {
      assert.equal(parseRangeHeader(header), undefined, String(header))
    }
  })

  test('white space around the value and empty list elements are accepted', () => {
    for (const header of [' bytes=0-1\t', 'bytes= 0-1', 'bytes=0-1 ,', 'bytes=,, 0-1', 'BYTES=0-1']) {
      assert.deepEqual(parseRange(header, 10), { start: 0, end: 2 }, header)
    }
  })

  test('malformed values are an error of their own', () => {
    const values = ['', 'bytes', 'bytes=', 'bytes=,', 'bytes=-', 'bytes=a-b', 'bytes=0', 'bytes=5-3', 'bytes=0 - 1', 'bytes=--1', 'bytes=+1-2',
      'bytes=1.5-2', 'bytes=0-1,x', 'bytes=0x1-2', 'bytes 0-1', 'by tes=0-1', '=0-1', 'bytes=0-1\n', 'bytes=\u00a00-1', 'bytes=١-٢', 'bytes=1e3-']
    for (const header of values) assert.throws(() => parseRangeHeader(header), syntax, JSON.stringify(header))
  })

  test('ranges beyond the object are unsatisfiable and name its size', () => {
    for (const header of ['bytes=1000-', 'bytes=1000-2000', 'bytes=-0', `bytes=${'9'.repeat(400)}-`]) {
      assert.throws(() => parseRange(header, 1000), { ...unsatisfiable, message: /1000 bytes/ }, header)
    }
    assert.throws(() => parseRange('bytes=0-', 0), unsatisfiable)
    assert.throws(() => parseRange('bytes=-5', 0), unsatisfiable)
  })

  test('huge numbers neither overflow nor lose precision below 2^53', () => {
    assert.deepEqual(parseRange(`bytes=0-${'9'.repeat(400)}`, 1000), { start: 0, end: 1000 })
    assert.deepEqual(parseRange('bytes=0-18446744073709551615', 1000), { start: 0, end: 1000 })
    assert.deepEqual(parseRange(`bytes=-${'9'.repeat(400)}`, 1000), { start: 0, end: 1000 })
    assert.deepEqual(parseRange('bytes=00000000000000000000001-0002', 1000), { start: 1, end: 3 })
    assert.throws(() => parseRangeHeader(`bytes=${'9'.repeat(400)}-5`), syntax)
  })

  test('a resolved range lies inside the object and says what was asked', () => {
    fc.assert(fc.property(fc.nat(), fc.nat(), fc.integer({ min: 1, max: 1e9 }), (first, extra, size) => {
      fc.pre(first < size)
      const range = parseRange(`bytes=${first}-${first + extra}`, size)
      assert.deepEqual(range, { start: first, end: Math.min(size, first + extra + 1) })
    }))
    fc.assert(fc.property(fc.integer({ min: 1, max: 1e9 }), fc.integer({ min: 1, max: 1e9 }), (length, size) => {
      assert.deepEqual(resolveRange({ kind: 'suffix', length }, size), { start: Math.max(0, size - length), end: size })
    }))
  })

  test('any text gives a range inside the object or one of two errors', () => {
    const text = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(...'bytes=0123456789-, \t') }).map(tail => `bytes=${tail}`))
    fc.assert(fc.property(text, fc.nat(2000), (header, size) => {
      try {
        const range = parseRange(header, size)
        if (range !== undefined) assert.ok(range.start >= 0 && range.start < range.end && range.end <= size)
      } catch (error) {
        assert.ok(error instanceof RelayError && /^RELAY_ERR_RANGE_/.test(error.code))
      }
    }), { numRuns: 1000 })
  })

  test('content-range is written with an inclusive end', () => {
    assert.equal(contentRange({ start: 0, end: 100 }, 1000), 'bytes 0-99/1000')
    assert.equal(unsatisfiedContentRange(1000), 'bytes */1000')
  })
})
