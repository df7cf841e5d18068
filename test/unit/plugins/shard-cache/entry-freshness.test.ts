import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { EntryFreshness } from '../../../../src/plugins/shard-cache/entry-freshness.ts'
import { EntryTable } from '../../../../src/plugins/shard-cache/entry-table.ts'
import { TtlRules } from '../../../../src/plugins/shard-cache/ttl-rules.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'
import { storeBytes } from '../../../../tools/harness/store-bytes.ts'
import { bytesOf, manualClock, openTestCache } from '../../../support/cache.ts'

const KEY = { cid: 'Qm', part: 0 }
const RULE = { ttl_ms: 10_000, stale_while_revalidate_ms: 5_000, stale_if_error_ms: 8_000 }

suite('how entries may be used', () => {
  test('follows the rules in force; a soft purge makes stale what is fresh, and what is expired stays so', () => {
    let now = 1_000_000
    const table = new EntryTable()
    const freshness = new EntryFreshness(table, { ttl: new TtlRules([{ tag: 'news', ...RULE }]), maxStaleMs: 50_000, now: () => now })
    const entry = table.make('Qm/0', { size: 1, sha256: '00'.repeat(32), storedAt: now, lastAccess: now, hits: 0, generation: 'a' }, true)
    table.open(entry)
    const standing = (): unknown[] => [freshness.of(entry).standing, freshness.of(entry).ifError, freshness.isOver(entry)]
    now += 1_000_000_000
    assert.deepEqual(standing(), ['fresh', true, false], 'no rule is for it')
    entry.staleSince = now
    assert.deepEqual(standing(), ['stale', true, false])
    now += 50_000
    assert.deepEqual(standing(), ['stale', true, true])
    entry.staleSince = 0
    table.addTags('Qm', ['news'])
    assert.deepEqual(standing(), ['expired', false, false])
    for (const [age, ...expected] of [[9_999, 'fresh', true, false], [10_000, 'stale', true, false], [14_999, 'stale', true, false], [15_000, 'expired', true, false], [18_000, 'expired', false, false]] as const) {
      entry.storedAt = now - age
      assert.deepEqual(standing(), expected)
    }
    entry.storedAt = now - 9_999
    entry.staleSince = now
    assert.deepEqual(standing(), ['stale', true, false])
    freshness.ttl = new TtlRules([])
    entry.staleSince = 0
    assert.deepEqual(standing(), ['fresh', true, false])
  })

  test('any clock: nothing is fresh for longer than its lifetime after the first look at it since the clock was set back', () => {
    fc.assert(fc.property(fc.array(fc.oneof(fc.integer({ min: 0, max: 4_000 }), fc.integer({ min: -1_000_000, max: -1 })), { minLength: 1, maxLength: 40 }), steps => {
      let now = 1_000_000_000
      const table = new EntryTable()
      const freshness = new EntryFreshness(table, { ttl: new TtlRules([RULE]), now: () => now })
      const entry = table.make('Qm/0', { size: 1, sha256: '00'.repeat(32), storedAt: now, lastAccess: now, hits: 0, generation: 'a' }, true)
      table.open(entry)
      let went = 0
      for (const step of steps) {
        now += step
        went = step < 0 ? 0 : went + step
        const handle = table.valueAt(table.slotOf('Qm/0'))
        const { standing, lifetime } = freshness.of(handle)
        if (went >= 10_000) assert.notEqual(standing, 'fresh')
        assert.equal(lifetime?.ttlMs, 10_000)
        assert.ok(handle.storedAt <= now)
      }
    }))
  })

  test('survives a restart, and an earlier time of the clock at it', async t => {
    const path = await temporaryDirectory(t)
    const clock = manualClock()
    const ttl = new TtlRules([RULE])
    const first = await openTestCache(t, path, { clock, ttl })
    await storeBytes(first.cache, KEY, bytesOf('freshness', 100))
    await first.close()
    clock.advance(9_000)
    const again = await openTestCache(t, path, { clock, ttl })
    assert.equal((await again.cache.open(KEY))?.standing, 'fresh')
    clock.advance(1_000)
    const stale = await again.cache.open(KEY)
    assert.deepEqual([stale?.standing, again.cache.has(KEY)], ['stale', true])
    stale?.release()
    clock.advance(5_000)
    assert.equal(again.cache.has(KEY), false)
    await again.close()
    clock.advance(-86_400_000)
    const early = await openTestCache(t, path, { clock, ttl })
    assert.equal(early.cache.has(KEY), true)
    clock.advance(9_999)
    assert.equal(early.cache.details(KEY)?.freshUntil, clock.now() + 1)
    clock.advance(5_001)
    assert.equal(early.cache.has(KEY), false)
  })
})
