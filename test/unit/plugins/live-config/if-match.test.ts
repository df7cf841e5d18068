import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkIfMatch } from '../../../../src/plugins/live-config/if-match.ts'

test('if-match is compared strongly, and nothing that is no list of tags passes for one', () => {
  for (const sent of [undefined, '*', ' * ', '"abc"', '"x", "abc"', '"abc",W/"abc"']) assert.doesNotThrow(() => { checkIfMatch(sent, 'abc') }, sent)
  for (const sent of ['"x"', 'W/"abc"', '""', '"ABC"']) assert.throws(() => { checkIfMatch(sent, 'abc') }, { code: 'RELAY_ERR_PRECONDITION' }, sent)
  for (const sent of ['', 'abc', '"abc', '"abc" "x"', '*, "abc"']) assert.throws(() => { checkIfMatch(sent, 'abc') }, { code: 'RELAY_ERR_BAD_REQUEST' }, sent)
})
