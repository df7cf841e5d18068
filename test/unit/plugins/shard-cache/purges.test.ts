import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import { deferred } from '../../../../src/base/deferred.ts'
import { MAX_REMEMBERED } from '../../../../src/plugins/shard-cache/purge-guard.ts'
import { Purges } from '../../../../src/plugins/shard-cache/purges.ts'
import { keyId } from '../../../../src/protocol/shard-key.ts'
import { never, sha256, storeBytes } from '../../../../tools/harness/store-bytes.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'
import { assertNothingHeld, bytesOf, openTestCache, testStore } from '../../../support/cache.ts'

const begins = (prefix: string) => (cid: string): boolean => cid.startsWith(prefix)

suite('a purge of what matches', () => {
  test('takes all of it and nothing else, in RAM, on disk and in part; the index on disk knows it when it ends', async t => {
    const path = await temporaryDirectory(t)
    const first = await openTestCache(t, path, { ramBytes: 1_000_000 })
    const { cache } = first
    for (let n = 0; n < 30; n++) await storeBytes(cache, { cid: `${n % 2 === 0 ? 'a' : 'b'}${n}`, part: n % 3 === 0 ? 'manifest' : n % 14 }, bytesOf(String(n), 100))
    const hot = { cid: 'a2', part: 2 } as const
    for (let hits = 0; hits < 3; hits++) (await cache.open(hot))?.release()
    await cache.flush()
    assert.equal(cache.ram.count, 1)
    const body = { size: 200_000, sha256: 'a'.repeat(64), blockSize: 65_536 }
    const partial = await cache.createBlockSpool({ cid: 'a99', part: 0 }, body, true)
    await partial.spool.put(0, [Buffer.alloc(65_536)], await partial.spool.place(never), never)
    assert.ok(await partial.keep())
    await partial.spool.close()
    assert.equal(await cache.purges.purge({ matches: begins('a') }), 15)
    assert.deepEqual([cache.disk.count, cache.ram.count, cache.disk.partials.count], [15, 0, 0])
    // As after kill -9: nothing was closed.
    assert.deepEqual((await cache.ids({ prefix: '', after: '', limit: 100 })).filter(begins('a')), [])
    assert.equal(await cache.open(hot), undefined)
  })

  test('wins over every fill that began before it ended, whenever that ends; a later one is stored', async t => {
    const lab = await testStore(t)
    const { store } = lab
    const purges = new Purges(store, { delete: () => {} })
    for (let n = 0; n < 500; n++) await storeBytes(store, { cid: `a${n}`, part: 0 }, Buffer.from('x'))
    const begin = async (cid: string) => {
      const ticket = await store.createSpool({ cid, part: 1 }, 3, true)
      await ticket.spool.append(Buffer.from('abc'), never)
      return ticket
    }
    const [before, other] = [await begin('a1'), await begin('c1')]
    const tickets = [before]
    const purge = purges.purge({ matches: begins('a'), forbid: () => { for (const ticket of tickets) ticket.forbidStore() } })
    await nextTurn()
    const meanwhile = await begin('a2')
    const ends = await begin('a3')
    tickets.push(ends)
    // Ends before the purge, and is not known to who forbids.
    assert.equal(await meanwhile.commit(sha256(Buffer.from('abc'))), false)
    assert.equal(await other.commit(sha256(Buffer.from('abc'))), true)
    assert.equal(await purge, 500)
    for (const ticket of [before, ends]) assert.equal(await ticket.commit(sha256(Buffer.from('abc'))), false)
    for (const { spool } of [before, meanwhile, ends, other]) await spool.close()
    assert.equal(store.count, 1)
    assert.equal(await storeBytes(store, { cid: 'a1', part: 1 }, Buffer.from('abc')), true)
    await assertNothingHeld(lab)
  })

  test('keeps files of an earlier run from being taken over, also after it, until index and directory agree', async t => {
    const { store } = await testStore(t)
    const { guard } = store
    const reconciled = deferred<undefined>()
    const done = guard.until(reconciled.promise)
    const record = { size: 1, sha256: 'b'.repeat(64), storedAt: 1, lastAccess: 1, hits: 0, generation: 'x' }
    guard.begin(begins('a'))()
    assert.equal(guard.forbids('a'), false)
    assert.deepEqual([store.adopt('a/0', record), store.adopt('b/0', record)], [false, true])
    for (let n = 0; n < MAX_REMEMBERED; n++) guard.begin(begins(`n${n}`))()
    assert.equal(store.adopt('c/0', record), false)
    reconciled.resolve(undefined)
    await done
    assert.deepEqual([store.adopt('a/0', record), store.adopt('c/0', record)], [true, true])
  })

  test('gives the event loop its turns, and what comes and goes meanwhile is told apart', async t => {
    await fc.assert(fc.asyncProperty(fc.array(fc.record({ cid: fc.constantFrom('a1', 'a2', 'b1', 'b2', 'c'), part: fc.nat({ max: 13 }) }), { minLength: 1, maxLength: 60 }), fc.constantFrom('a', 'b1', 'c', 'd'), async (keys, prefix) => {
      const { store } = await testStore(t)
      for (const key of keys) await storeBytes(store, key, bytesOf(keyId(key), 10))
      const ids = new Set(keys.map(keyId))
      const going = [...ids].filter(begins(prefix))
      let turns = 0
      const count = (): void => { turns++ }
      const purge = new Purges(store, { delete: count }).purge({ matches: begins(prefix) })
      assert.equal(await purge, going.length)
      assert.equal(turns, going.length)
      for (const id of ids) assert.equal(store.peek(id) !== undefined, !id.startsWith(prefix))
    }), { numRuns: 8 })
  })
})
