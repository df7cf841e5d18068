import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readHead } from '../../../../src/plugins/upstream/answer.ts'

test('the age of an answer is whole seconds, ten years at most; what cannot be read is none', () => {
  for (const [age, ms] of [['0', 0], ['50', 50_000], ['315360001', 315_360_000_000], ['999999999999999', 315_360_000_000], ['9'.repeat(400), 0], ['-1', 0], ['1.5', 0], ['1, 2', 0], [['1', '2'], 0], ['', 0], [undefined, 0]] as const) {
    assert.equal(readHead('a node', { 'content-length': '1', age: age === undefined ? undefined : typeof age === 'string' ? age : [...age] }).ageMs, ms, String(age))
  }
})
