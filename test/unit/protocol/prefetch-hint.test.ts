import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { formatPrefetchHint, MAX_HINTS, parsePrefetchHint } from '../../../src/protocol/prefetch-hint.ts'
import { keyId, type ShardKey } from '../../../src/protocol/shard-key.ts'

const cid = fc.oneof(fc.stringMatching(/^[A-Za-z0-9_-]{1,20}$/), fc.constant('x'.repeat(128)))
const key: fc.Arbitrary<ShardKey> = fc.record({ cid, part: fc.oneof(fc.integer({ min: 0, max: 13 }), fc.constant('manifest' as const)) })

suite('the field icn-prefetch', () => {
  test('tells the objects that it was made of, eight at most, each once', () => {
    fc.assert(fc.property(fc.array(key, { minLength: 1, maxLength: 12 }), keys => {
      const told = parsePrefetchHint(formatPrefetchHint(keys)).map(keyId)
      assert.deepEqual(told, [...new Set(keys.slice(0, MAX_HINTS).map(keyId))])
    }), { numRuns: 100 })
    assert.equal(formatPrefetchHint([]), undefined)
    assert.equal(formatPrefetchHint([{ cid: 'a"\r\n', part: 1 }, { cid: 'b', part: 2 }]), '"b/2"')
  })

  test('is a list of structured fields: parameters and white space are left aside, and so are strings that name no object', () => {
    const two = [{ cid: '0xAB', part: 3 }, { cid: 'Qm', part: 'manifest' }]
    assert.deepEqual(parsePrefetchHint('"0xAB/3", "Qm/manifest"'), two)
    assert.deepEqual(parsePrefetchHint('  "0xAB/3";a;b=1;c=?0;d="x, y" \t,\t"Qm/manifest"  '), two)
    assert.deepEqual(parsePrefetchHint('"0xAB/3", "Qm/14", "Qm/03", "../x", "", "Qm", "Qm/manifest"'), two)
  })

  test('that is malformed or too long names nothing', () => {
    for (const field of [undefined, '', ',', '"Qm/1",', '"Qm/1" "Qm/2"', 'Qm/1', '"Qm/1', '("Qm/1")', '"Qm/1", 7', '"Qm\\/1"', `"Qm/1"${' '.repeat(3_000)}`]) assert.deepEqual(parsePrefetchHint(field), [], field)
  })

  test('never throws, whatever comes', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), text => { assert.ok(parsePrefetchHint(text).length <= MAX_HINTS) }), { numRuns: 300 })
  })
})
