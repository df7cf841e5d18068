import assert from 'node:assert/strict'
import { test } from 'node:test'
import { reasonText } from '../../../client/src/client-error.ts'

test('a reason is in words: what fetch of Node has in its cause too, and nothing of other causes', () => {
  assert.equal(reasonText(new TypeError('fetch failed', { cause: new Error('unable to verify the first certificate') })), 'fetch failed: unable to verify the first certificate')
  assert.equal(reasonText(new TypeError('fetch failed')), 'fetch failed')
  assert.equal(reasonText(new Error('no answer', { cause: new Error('something inside') })), 'no answer')
  assert.equal(reasonText(new RangeError('')), 'RangeError')
  assert.equal(reasonText('just text'), 'just text')
})
