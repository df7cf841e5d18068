import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { parseTraceparent, takenRequestId, traceFields } from '../../../src/protocol/trace-context.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const PARENT = 'b7ad6b7169203331'

const hex = (length: number): fc.Arbitrary<string> => fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: length, maxLength: length })

suite('traceparent (W3C Trace Context, level 1)', () => {
  test('what is valid is taken, flags of level 1 only', () => {
    assert.deepEqual(parseTraceparent(`00-${TRACE}-${PARENT}-01`), { traceId: TRACE, flags: 1 })
    assert.deepEqual(parseTraceparent(`00-${TRACE}-${PARENT}-fe`), { traceId: TRACE, flags: 0 })
    assert.deepEqual(parseTraceparent(`cc-${TRACE}-${PARENT}-01-what-the-future-will-be-like`), { traceId: TRACE, flags: 1 })
  })

  test('what is not, is not', () => {
    for (const field of [
      undefined, '', [`00-${TRACE}-${PARENT}-01`], `00-${TRACE}-${PARENT}-01-more`, `ff-${TRACE}-${PARENT}-01`, `00-${'0'.repeat(32)}-${PARENT}-01`, `00-${TRACE}-${'0'.repeat(16)}-01`,
      `00-${TRACE.toUpperCase()}-${PARENT}-01`, `00-${TRACE}-${PARENT}-1`, `0-${TRACE}-${PARENT}-01`, `00-${TRACE}-${PARENT}`, ` 00-${TRACE}-${PARENT}-01`, `00-${TRACE}-${PARENT}-01\n`, `cc-${TRACE}-${PARENT}-01.x`,
      `cc-${TRACE}-${PARENT}-01-${'x'.repeat(600)}`
    ]) assert.equal(parseTraceparent(field), undefined, String(field))
  })

  test('any text is parsed or refused, and what is sent on is valid, of the same trace and with another parent', () => {
    const near = fc.tuple(hex(2), hex(32), hex(16), hex(2)).map(parts => parts.join('-'))
    fc.assert(fc.property(fc.oneof(near, fc.string()), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (field, number) => {
      const trace = parseTraceparent(field)
      if (trace === undefined) return
      const { traceparent } = traceFields({ id: 'a', trace }, () => number)
      assert.match(traceparent ?? '', new RegExp(`^00-${trace.traceId}-(?!0{16})[0-9a-f]{16}-0[01]$`))
      assert.deepEqual(parseTraceparent(traceparent), trace)
    }), { numRuns: 50 })
  })

  test('without one, only the id goes on', () => {
    assert.deepEqual(traceFields({ id: 'a', trace: undefined }, Math.random), { 'x-request-id': 'a' })
  })
})

test('an id of a caller is taken when it can stand anywhere', () => {
  for (const id of ['a', 'A-9._~+/=', 'x'.repeat(128)]) assert.equal(takenRequestId(id), id)
  for (const id of [undefined, ['a'], '', 'x'.repeat(129), 'a b', 'a"', 'a\n', 'ä', '<a>', 'a,b']) assert.equal(takenRequestId(id), undefined, String(id))
})
