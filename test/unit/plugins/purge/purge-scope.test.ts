import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { RelayError } from '../../../../src/base/errors.ts'
import { refuseOutside, type NamedCids } from '../../../../src/plugins/purge/purge-scope.ts'
import { selectCids } from '../../../../src/plugins/purge/selector.ts'

function isRefused (allowed: readonly string[], named: NamedCids): boolean {
  try {
    refuseOutside(allowed, named)
    return false
  } catch (error) {
    assert.ok(error instanceof RelayError && error.code === 'RELAY_ERR_ADMIN_SCOPE')
    return true
  }
}

test('a token for prefixes purges what begins so: no other CIDs, no shorter prefix, no tag and not everything', () => {
  for (const named of [{ cid: 'tv-1' }, { cids: ['tv-1', 'radio-'] }, { prefix: 'tv-news-*' }, { prefix: 'tv-' }]) assert.equal(isRefused(['tv-', 'radio-'], named), false, JSON.stringify(named))
  for (const named of [{}, { all: true }, { tag: 'tv-' }, { cid: 'film-1' }, { cids: ['tv-1', 'film-1'] }, { prefix: 'tv' }, { prefix: '*' }, { cids: [] }, { cid: 'tv-1', prefix: 'f' }]) assert.equal(isRefused(['tv-', 'radio-'], named as NamedCids), true, JSON.stringify(named))
})

test('whatever passes selects no CID outside', () => {
  const text = fc.stringMatching(/^[ab-]{1,4}$/)
  const selector = fc.oneof(fc.record({ cids: fc.array(text, { minLength: 1 }) }), fc.record({ prefix: fc.tuple(text, fc.constantFrom('', '*')).map(parts => parts.join('')) }))
  fc.assert(fc.property(fc.array(text, { minLength: 1, maxLength: 3 }), selector, fc.array(text), (allowed, named, cids) => {
    if (isRefused(allowed, named)) return
    const { matches } = selectCids(named, () => [])
    for (const cid of cids) assert.ok(!matches(cid) || allowed.some(start => cid.startsWith(start)))
  }))
})
