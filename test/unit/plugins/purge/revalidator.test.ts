import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { deferred } from '../../../../src/base/deferred.ts'
import { RelayError, type ErrorCode } from '../../../../src/base/errors.ts'
import { MAX_REVALIDATIONS, MAX_WAITING_REVALIDATIONS, RETRY_FIRST_MS, RETRY_MOST_MS, Revalidator, type RevalidatorOptions } from '../../../../src/plugins/purge/revalidator.ts'
import type { CacheEntry } from '../../../../src/plugins/shard-cache/cache-entry.ts'
import type { QuietFill } from '../../../../src/plugins/shards/running-fill.ts'
import { keyId, type ShardKey } from '../../../../src/protocol/shard-key.ts'
import { until } from '../../../support/cache.ts'

const KEY: ShardKey = { cid: 'Qm', part: 0 }
const SAME = { size: 3, sha256: 'a', ageMs: 0 }

interface Rig {
  readonly revalidator: Revalidator
  readonly entries: Map<string, Partial<CacheEntry> & { staleSince: number }>
  readonly told: string[]
  readonly fetched: string[]
  time: number
  calm: boolean
  purges: number
  stale: number
}

function setUp (options: Partial<RevalidatorOptions> = {}, fetching: (id: string, rig: Rig) => Promise<void> = async () => {}): Rig {
  const entries: Rig['entries'] = new Map([[keyId(KEY), { serial: 1, staleSince: 1, ...SAME }]])
  const rig: Rig = {
    entries,
    told: [],
    fetched: [],
    time: 0,
    calm: true,
    purges: 1,
    stale: 0,
    revalidator: new Revalidator({
      peek: id => entries.get(id) as CacheEntry | undefined,
      renew: entry => { (entry as { staleSince: number }).staleSince = 0 },
      evict: id => { entries.delete(id) },
      purges: () => rig.purges,
      expects: async () => undefined,
      refetch: key => {
        rig.fetched.push(keyId(key))
        const done = fetching(keyId(key), rig)
        done.catch(() => {})
        return { head: done as never, complete: async () => { await done }, finished: done.catch(() => {}), giveUp: () => {} } satisfies QuietFill
      },
      mayBegin: () => rig.calm,
      now: () => rig.time,
      random: () => 0.5,
      observer: { revalidated: outcome => { rig.told.push(outcome) }, expired: outcome => { rig.told.push(`expired: ${outcome}`) }, stale: () => { rig.stale++ } },
      isStale: entry => entry.staleSince > 0,
      ...options
    })
  }
  return rig
}

async function once (rig: Rig): Promise<void> {
  rig.revalidator.used(KEY)
  await until(() => rig.revalidator.running === 0)
}

suite('a stale object', () => {
  test('is fresh without being fetched when its manifest says the same', async () => {
    const rig = setUp({ expects: async () => SAME })
    await once(rig)
    assert.deepEqual([rig.told, rig.fetched, rig.entries.get('Qm/0')?.staleSince], [['fresh'], [], 0])
    await once(rig)
    assert.deepEqual(rig.told, ['fresh'])
  })

  test('is fetched where no manifest is believed or it says something else: the same bytes are fresh, others replace it', async () => {
    const same = setUp({}, async (id, { entries }) => { entries.set(id, { serial: 1, staleSince: 0, ...SAME }) })
    await once(same)
    const other = setUp({ expects: async () => ({ size: 3, sha256: 'b', ageMs: 0 }) }, async (id, { entries }) => { entries.set(id, { serial: 2, staleSince: 0, size: 3, sha256: 'b' }) })
    await once(other)
    assert.deepEqual([same.told, other.told], [['fresh'], ['replaced']])
  })

  test('goes when all super-nodes say that they have it not, and stays when one fails', async () => {
    for (const [code, told, left] of [['RELAY_ERR_SHARD_NOT_FOUND', 'gone', 0], ['RELAY_ERR_UPSTREAM_TIMEOUT', 'failed', 1], ['RELAY_ERR_FILLS_BUSY', 'failed', 1]] as const satisfies readonly (readonly [ErrorCode, string, number])[]) {
      const rig = setUp({}, async () => { throw new RelayError(code, 'as told') })
      await once(rig)
      assert.deepEqual([rig.told, rig.entries.size], [[told], left])
    }
    const kept = setUp({ refetch: () => { throw new RelayError('RELAY_ERR_OVERLOADED', 'not now') } })
    await once(kept)
    assert.deepEqual([kept.told, kept.entries.size], [['failed'], 1])
  })

  test('is tried again when somebody asks after a pause, which doubles up to five minutes', async () => {
    const rig = setUp({}, async () => { throw new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', 'late') })
    let pause = RETRY_FIRST_MS
    for (let failures = 1; failures <= 11; failures++) {
      await once(rig)
      assert.equal(rig.fetched.length, failures)
      rig.time += pause - 1
      await once(rig)
      assert.equal(rig.fetched.length, failures)
      rig.time++
      pause = Math.min(RETRY_MOST_MS, pause * 2)
    }
  })

  test('that was purged again, replaced or evicted meanwhile is not taken for fresh, nor evicted', async () => {
    const again = setUp({ expects: async () => { again.purges++; return SAME } })
    await once(again)
    assert.deepEqual([again.told, again.entries.get('Qm/0')?.staleSince], [['failed'], 1])
    const replaced = setUp({ expects: async () => { replaced.entries.set('Qm/0', { serial: 2, staleSince: 1, ...SAME }); return SAME } })
    await once(replaced)
    const fetched = setUp({}, async (id, { entries }) => {
      entries.set(id, { serial: 2, staleSince: 1, ...SAME })
      throw new RelayError('RELAY_ERR_SHARD_NOT_FOUND', 'none')
    })
    await once(fetched)
    assert.deepEqual([replaced.told, fetched.told, fetched.entries.size], [[], [], 1])
  })

  test('is fresh for a request that waits for it when a manifest says so of these bytes, and of no others; who may have it stale does not wait for a failure again', async () => {
    const rig = setUp({ expects: async (_key, via) => ({ ...SAME, ageMs: via.length }), renew: (entry, ageMs) => { Object.assign(entry, { staleSince: 0, storedAt: 1_000 - ageMs }) } })
    const { revalidator } = rig
    assert.equal(await revalidator.renewed(KEY, 'b', []), undefined)
    assert.equal(await revalidator.renewed({ cid: 'Qm', part: 1 }, 'a', []), undefined)
    revalidator.ended(KEY, 'stale', new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', 'late'))
    assert.equal(revalidator.pauses(KEY), true)
    rig.time = RETRY_FIRST_MS
    assert.equal(revalidator.pauses(KEY), false)
    assert.equal(await revalidator.renewed(KEY, 'a', ['1.1 other']), 999)
    assert.equal(await revalidator.renewed(KEY, 'a', []), undefined, 'it is fresh')
    revalidator.ended(KEY, 'failed', new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', 'late'))
    assert.equal(revalidator.pauses(KEY), true)
    revalidator.ended(KEY, 'fetched')
    assert.equal(revalidator.pauses(KEY), false)
    assert.deepEqual(rig.told, ['expired: stale', 'expired: same', 'expired: failed', 'expired: fetched'])
    // What nobody has goes, unless somebody has found it again meanwhile.
    revalidator.ended(KEY, 'failed', new RelayError('RELAY_ERR_SHARD_NOT_FOUND', 'none'))
    assert.equal(rig.entries.size, 1)
    rig.entries.set('Qm/0', { serial: 3, staleSince: 1, ...SAME })
    revalidator.ended(KEY, 'failed', new RelayError('RELAY_ERR_SHARD_NOT_FOUND', 'none'))
    assert.equal(rig.entries.size, 0)
    for (const expects of [async () => { throw new RelayError('RELAY_ERR_INTERNAL', 'x') }, async () => undefined, async () => ({ ...SAME, size: 4 })]) {
      assert.equal(await setUp({ expects }).revalidator.renewed(KEY, 'a', []), undefined)
    }
    const purged = setUp({ expects: async () => { purged.purges++; return SAME } })
    assert.equal(await purged.revalidator.renewed(KEY, 'a', []), undefined)
  })

  test('is looked after once, whoever asks; few at the same time, a bounded number waits, none while load is high', async () => {
    const gate = deferred<undefined>()
    const rig = setUp({}, async () => { await gate.promise })
    rig.calm = false
    rig.revalidator.used(KEY)
    assert.equal(rig.revalidator.running, 0)
    rig.calm = true
    const keys = Array.from({ length: MAX_WAITING_REVALIDATIONS + MAX_REVALIDATIONS + 50 }, (_, n): ShardKey => ({ cid: `c${n}`, part: 0 }))
    for (const key of keys) rig.entries.set(keyId(key), { serial: 1, staleSince: 1, ...SAME })
    for (const key of [...keys, ...keys]) {
      rig.revalidator.used(key)
      assert.ok(rig.revalidator.running <= MAX_REVALIDATIONS && rig.revalidator.waiting <= MAX_WAITING_REVALIDATIONS)
    }
    await until(() => rig.fetched.length === MAX_REVALIDATIONS)
    assert.equal(rig.revalidator.waiting, MAX_WAITING_REVALIDATIONS)
    // Load rises: what is under way ends, and the others are forgotten.
    rig.calm = false
    gate.resolve(undefined)
    await until(() => rig.revalidator.running === 0)
    assert.deepEqual([rig.fetched.length, rig.revalidator.waiting], [MAX_REVALIDATIONS, 0])
    rig.revalidator.close()
    rig.calm = true
    rig.revalidator.used(KEY)
    assert.equal(rig.revalidator.waiting, 0)
  })
})
