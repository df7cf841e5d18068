import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { objectsAfter, parityFor } from '../../../../src/plugins/prefetch/prediction.ts'
import { keyId, type ObjectPart } from '../../../../src/protocol/shard-key.ts'

const SERIES: Readonly<Record<string, readonly string[]>> = { a: ['b', 'a', 'b', 'c'] }

function after (part: ObjectPart, count: number, cid = 'a'): string[] {
  return objectsAfter({ cid, part }, count, of => SERIES[of] ?? []).map(keyId)
}

suite('what is asked for next', () => {
  test('the data shards behind the one that was asked for, the first ones after a manifest', () => {
    assert.deepEqual(after(2, 2), ['a/3', 'a/4'])
    assert.deepEqual(after('manifest', 3), ['a/0', 'a/1', 'a/2'])
    assert.deepEqual(after(2, 0), [])
    assert.deepEqual(after(7, 8, 'z'), ['z/8', 'z/9'])
  })

  test('then the videos that the manifest names, each once, from their manifests on', () => {
    assert.deepEqual(after(8, 4), ['a/9', 'b/manifest', 'b/0', 'b/1'])
    assert.deepEqual(after(9, 14).slice(-4), ['b/9', 'c/manifest', 'c/0', 'c/1'])
  })

  test('parity predicts nothing, and is brought in for a data shard that nobody has', () => {
    assert.deepEqual(after(10, 8), [])
    assert.deepEqual(parityFor({ cid: 'a', part: 3 }, ({ part }) => part === 10), { cid: 'a', part: 11 })
    assert.equal(parityFor({ cid: 'a', part: 3 }, () => true), undefined)
    assert.equal(parityFor({ cid: 'a', part: 12 }, () => false), undefined)
    assert.equal(parityFor({ cid: 'a', part: 'manifest' }, () => false), undefined)
  })
})
