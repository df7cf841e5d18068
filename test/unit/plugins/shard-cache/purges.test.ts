import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { deferred } from '../../../../src/base/deferred.ts'
import { checkManifest } from '../../../../src/plugins/shard-cache/manifest.ts'
import { MAX_REMEMBERED } from '../../../../src/plugins/shard-cache/purge-guard.ts'
import { Purges } from '../../../../src/plugins/shard-cache/purges.ts'
import { decodeRecord, encodeRecord } from '../../../../src/plugins/shard-cache/record-bytes.ts'
import { keyId } from '../../../../src/protocol/shard-key.ts'
import { never, sha256, storeBytes } from '../../../../tools/harness/store-bytes.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'
import { assertNothingHeld, bytesOf, manualClock, openTestCache, testStore } from '../../../support/cache.ts'

const begins = (prefix: string) => (cid: string): boolean => cid.startsWith(prefix)

suite('a soft purge', () => {
  const body = Buffer.from('abc')

  test('marks what matches, over a restart; the same bytes make it fresh without a new file, others replace it', async t => {
    const path = await temporaryDirectory(t)
    const clock = manualClock()
    const first = await openTestCache(t, path, { clock })
    const keys = ['a0', 'a1', 'b0'].map(cid => ({ cid, part: 0 as const }))
    for (const key of keys) await storeBytes(first.cache, key, body)
    clock.advance(5_000)
    assert.equal(await first.cache.purges.purge({ matches: begins('a'), staleSince: clock.now() }), 2)
    clock.advance(5_000)
    assert.equal(await first.cache.purges.purge({ matches: begins('a'), staleSince: clock.now() }), 2)
    assert.deepEqual(checkManifest(JSON.parse([...first.cache.exportManifest()].join(''))).map(({ cid }) => cid), ['b0'])
    await first.close()
    const { cache } = await openTestCache(t, path, { clock, maxStaleMs: 10_000 })
    await cache.reconciled
    const since = async (n: number): Promise<number | undefined> => {
      const object = await cache.open(keys[n] ?? assert.fail())
      object?.release()
      return object?.staleSince
    }
    assert.deepEqual([await since(0), await since(1), await since(2)], [clock.now() - 5_000, clock.now() - 5_000, 0])
    const file = (n: number): string => cache.disk.fileOf(cache.disk.peek(keyId(keys[n] ?? assert.fail())) ?? assert.fail())
    const files = [file(0), file(1)]
    assert.equal(await storeBytes(cache, keys[0] ?? assert.fail(), body), true)
    assert.equal(await storeBytes(cache, keys[1] ?? assert.fail(), Buffer.from('xyz')), true)
    assert.deepEqual([await since(0), await since(1)], [0, 0])
    assert.deepEqual([file(0) === files[0], file(1) === files[1]], [true, false])
    assert.equal(cache.details(keys[0] ?? assert.fail())?.storedAt, clock.now())
    assert.equal(cache.disk.reservedBytes, 0)
  })

  test('is served for so long and no longer', async t => {
    const clock = manualClock()
    const { cache } = await openTestCache(t, await temporaryDirectory(t), { clock, maxStaleMs: 10_000 })
    const key = { cid: 'a', part: 0 }
    await storeBytes(cache, key, body)
    await cache.purges.purge({ matches: begins('a'), staleSince: clock.now() })
    clock.advance(9_999)
    assert.equal(cache.has(key), true)
    clock.advance(1)
    assert.equal(cache.has(key), false)
    assert.equal(await cache.open(key), undefined)
    assert.equal(cache.disk.count, 0)
  })

  test('is told apart in a record, whatever else that says, and hits are cut to what has room beside it', () => {
    fc.assert(fc.property(fc.nat({ max: 2 ** 32 - 1 }), fc.integer({ min: 0, max: 2 ** 32 - 1 }), fc.boolean(), (hits, seconds, verified) => {
      const record = { size: 1, sha256: 'c'.repeat(64), storedAt: 1, lastAccess: 2, hits, generation: 'g', verified, staleSince: seconds * 1_000 }
      const read = decodeRecord(encodeRecord(record))
      assert.deepEqual([read?.staleSince ?? 0, read?.verified ?? false, read?.hits], [seconds * 1_000, verified, seconds === 0 ? hits : Math.min(hits, 2 ** 20 - 1)])
    }), { numRuns: 50 })
  })
})

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
    const [before, meanwhile, other] = [await begin('a1'), await begin('a2'), await begin('c1')]
    // One that ends within the purge need not be known to who forbids.
    const end = store.guard.begin(begins('a'))
    assert.equal(await meanwhile.commit(sha256(Buffer.from('abc'))), false)
    assert.equal(await other.commit(sha256(Buffer.from('abc'))), true)
    end()
    const told: string[] = []
    const purge = purges.purge({
      matches: begins('a'),
      forbid: () => {
        told.push(store.guard.forbids('a') ? 'within' : 'without')
        before.forbidStore()
      }
    })
    assert.equal(await purge, 500)
    assert.deepEqual(told, ['within', 'within'])
    assert.equal(await before.commit(sha256(Buffer.from('abc'))), false)
    for (const { spool } of [before, meanwhile, other]) await spool.close()
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
