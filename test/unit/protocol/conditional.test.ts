import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { ifRangeMatches, matchesIfNoneMatch } from '../../../src/protocol/conditional.ts'

const etag = '"sha256-ab"'

suite('if-none-match', () => {
  test('single tag, list, star, weak comparison', () => {
    for (const header of [etag, ` ${etag}\t`, `"x", ${etag}`, `"x",${etag},"y"`, `,, ${etag} ,`, `W/${etag}`, '*', ' * ', `"", ${etag}`]) {
      assert.equal(matchesIfNoneMatch(header, etag), true, header)
    }
    assert.equal(matchesIfNoneMatch(etag, `W/${etag}`), true)
  })

  test('other tags do not match', () => {
    for (const header of ['"x"', '"sha256-a"', '"SHA256-AB"', '""', '"x", "y"']) assert.equal(matchesIfNoneMatch(header, etag), false, header)
  })

  test('a comma inside a tag belongs to the tag', () => {
    assert.equal(matchesIfNoneMatch('"a,b"', '"a,b"'), true)
    assert.equal(matchesIfNoneMatch('"a,b"', '"a"'), false)
    assert.equal(matchesIfNoneMatch('"a,b", "c"', '"c"'), true)
  })

  test('malformed values match nothing, even with the right tag in them', () => {
    for (const header of ['', ',', 'sha256-ab', `${etag} ${etag}`, `"x" ${etag}`, `${etag}x`, `x${etag}`, `w/${etag}`, `${etag}, *`, '*,', ',*', '**', `"open, ${etag}`, '"\u{1f600}"']) {
      assert.equal(matchesIfNoneMatch(header, etag), false, header)
    }
    assert.equal(matchesIfNoneMatch('*', 'not-a-tag'), false)
  })

  test('any text is answered without throwing, and quickly', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(...'W/"*, \tab') })), header => {
      assert.equal(typeof matchesIfNoneMatch(header, etag), 'boolean')
      assert.equal(typeof ifRangeMatches(header, etag), 'boolean')
    }), { numRuns: 1000 })
    const started = process.hrtime.bigint()
    matchesIfNoneMatch(' ,'.repeat(50_000) + 'x', etag)
    matchesIfNoneMatch('"a"' + ' ,\t'.repeat(50_000) + 'x', etag)
    assert.ok(process.hrtime.bigint() - started < 1_000_000_000n, 'no quadratic backtracking')
  })
})

suite('if-range', () => {
  test('strong comparison of one tag', () => {
    assert.equal(ifRangeMatches(etag, etag), true)
    assert.equal(ifRangeMatches(`\t${etag} `, etag), true)
    for (const header of ['', '*', '"x"', `W/${etag}`, `${etag}, ${etag}`, 'Tue, 01 Jul 2025 00:00:00 GMT']) assert.equal(ifRangeMatches(header, etag), false, header)
    assert.equal(ifRangeMatches(`W/${etag}`, `W/${etag}`), false)
    const date = 'Tue, 01 Jul 2025 00:00:00 GMT'
    assert.equal(ifRangeMatches(date, date), false)
  })
})
