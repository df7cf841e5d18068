import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { deferred } from '../../../../src/base/deferred.ts'
import { MAX_WAITING_PURGES, Purger, type PurgerOptions } from '../../../../src/plugins/purge/purger.ts'
import { selectCids } from '../../../../src/plugins/purge/selector.ts'
import type { PurgeWhat } from '../../../../src/plugins/shard-cache/purges.ts'

function purgerOf (options: Partial<PurgerOptions> = {}): { purger: Purger, begun: PurgeWhat[] } {
  const begun: PurgeWhat[] = []
  const purger = new Purger({
    purge: async what => {
      begun.push(what)
      what.forbid?.()
      return 3
    },
    forbidStore: () => {},
    tagsOf: () => [],
    clock: { now: () => 0, monotonic: () => 0 },
    purged: () => {},
    ...options
  })
  return { purger, begun }
}

suite('what a purge selects', () => {
  test('is CIDs, a prefix with or without a star, a tag, or all; exactly one of them', () => {
    const tags = new Map([['A', ['news']]])
    const select = (selector: Parameters<typeof selectCids>[0]): string[] => ['A', 'AB', 'B'].filter(selectCids(selector, cid => tags.get(cid) ?? []).matches)
    assert.deepEqual(select({ cids: ['A', 'A', 'none'] }), ['A'])
    assert.deepEqual(select({ prefix: 'A' }), ['A', 'AB'])
    assert.deepEqual(select({ prefix: 'AB*' }), ['AB'])
    assert.deepEqual(select({ tag: 'news' }), ['A'])
    assert.deepEqual(select({ all: true }), ['A', 'AB', 'B'])
    for (const wrong of [{}, { tag: 'a', prefix: 'b' }, { all: true as const, cids: ['A'] }]) assert.throws(() => select(wrong), { code: 'RELAY_ERR_BAD_REQUEST', message: /exactly one of cids, prefix, tag and all/ })
  })

  test('by tag stays selected when the tags are forgotten', () => {
    const tags = new Map([['A', ['news']]])
    const { matches } = selectCids({ tag: 'news' }, cid => tags.get(cid) ?? [])
    assert.equal(matches('A'), true)
    tags.clear()
    assert.equal(matches('A'), true)
    assert.equal(matches('B'), false)
  })
})

suite('purges', () => {
  test('run one after the other; a bounded number waits; what fails does not hold up the next', async () => {
    const gate = deferred<undefined>()
    let running = 0
    const { purger } = purgerOf({
      purge: async () => {
        assert.equal(++running, 1)
        await gate.promise
        running--
        throw new Error('the disk')
      }
    })
    const all = Array.from({ length: MAX_WAITING_PURGES + 1 }, async () => await purger.purge({ all: true }).catch((error: unknown) => String(error)))
    await assert.rejects(purger.purge({ all: true }), { code: 'RELAY_ERR_JOBS_BUSY' })
    assert.equal(purger.open, MAX_WAITING_PURGES + 1)
    gate.resolve(undefined)
    assert.deepEqual([...new Set(await Promise.all(all))], ['Error: the disk'])
    assert.equal(purger.open, 0)
  })

  test('forbid what is on its way by the ids of keys, and tell how long they took', async () => {
    const forbidden: string[] = []
    let time = 10
    const { purger } = purgerOf({ forbidStore: matches => { forbidden.push(...['A/0', 'AB/manifest', 'B/0'].filter(matches)) }, clock: { now: () => 7, monotonic: () => time++ * 1_000 } })
    assert.deepEqual(await purger.purge({ prefix: 'A' }), { purged: 3, ms: 1_000 })
    assert.deepEqual(forbidden, ['A/0', 'AB/manifest'])
  })

  test('end with the relay', async () => {
    const gate = deferred<undefined>()
    const { purger, begun } = purgerOf({
      purge: async what => {
        begun.push(what)
        await gate.promise
        return 0
      }
    })
    const purge = purger.purge({ all: true })
    await Promise.resolve()
    const closed = purger.close()
    gate.resolve(undefined)
    await assert.rejects(purge, { code: 'RELAY_ERR_STOPPING' })
    await closed
    assert.equal(begun[0]?.matches('A'), false)
  })
})
