import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { TtlRules, type TtlRule } from '../../../../src/plugins/shard-cache/ttl-rules.ts'
import type { ObjectPart, ShardKey } from '../../../../src/protocol/shard-key.ts'

const key = (cid: string, part: ObjectPart = 0): ShardKey => ({ cid, part })
const ttlOf = (rules: TtlRule[], of: ShardKey, tags: string[] = []): number | undefined => new TtlRules(rules).lifetimeOf(of, () => tags)?.ttlMs

suite('rules for how long objects are fresh', () => {
  test('the first counts of which all conditions fit; one without ttl_ms, and none, say for ever', () => {
    const rules: TtlRule[] = [
      { cid_prefix: 'live-', media_type: 'application/json', ttl_ms: 1_000, stale_if_error_ms: 7 },
      { cid_prefix: 'live-kept' },
      { tag: 'news', ttl_ms: 2_000 },
      { cid_prefix: 'live-', ttl_ms: 3_000 },
      { media_type: 'application/json', ttl_ms: 4_000 }
    ]
    assert.deepEqual(new TtlRules(rules).lifetimeOf(key('live-a', 'manifest'), () => []), { ttlMs: 1_000, staleWhileRevalidateMs: 0, staleIfErrorMs: 7 })
    assert.equal(ttlOf(rules, key('live-kept-a')), undefined)
    assert.equal(ttlOf(rules, key('live-a'), ['old', 'news']), 2_000)
    assert.equal(ttlOf(rules, key('live-a'), ['old']), 3_000)
    assert.equal(ttlOf(rules, key('Qm', 'manifest')), 4_000)
    assert.equal(ttlOf(rules, key('Qm', 13)), undefined)
    assert.equal(ttlOf([], key('Qm')), undefined)
  })

  test('any rules: no rule before the one that counts fits, and tags are asked of only where one is', () => {
    const condition = fc.record({ cid_prefix: fc.constantFrom('a', 'ab', 'b'), tag: fc.constantFrom('x', 'y'), media_type: fc.constantFrom('application/json', 'application/octet-stream') }, { requiredKeys: [] })
    const keys = fc.record({ cid: fc.constantFrom('a', 'ab', 'abc', 'b', 'c'), part: fc.constantFrom<ObjectPart>(0, 13, 'manifest') })
    fc.assert(fc.property(fc.array(condition, { maxLength: 8 }), keys, fc.subarray(['x', 'y']), (conditions, of, tags) => {
      const rules = conditions.map((one, position) => ({ ...one, ttl_ms: 1_000 + position }))
      const fits = rules.find(({ cid_prefix: prefix = '', tag = tags[0], media_type: type }) => of.cid.startsWith(prefix) && (tag === undefined || tags.includes(tag)) && (type === undefined || (type === 'application/json') === (of.part === 'manifest')))
      let asked = 0
      const found = new TtlRules(rules).lifetimeOf(of, () => {
        asked++
        return tags
      })
      assert.equal(found?.ttlMs, fits?.ttl_ms)
      assert.ok(asked <= (rules.some(({ tag }) => tag !== undefined) ? 1 : 0))
    }))
  })
})
