import { test } from 'node:test'
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import { deferred } from '../../../src/base/deferred.ts'
import type { CachedObject, ShardCache } from '../../../src/plugins/shard-cache/shard-cache.ts'
import { keyId, type ShardKey } from '../../../src/protocol/shard-key.ts'
import { LeasedStore, type Leasable } from '../../../src/storage/leased-store.ts'
import { RamTier, type RamObject } from '../../../src/storage/ram-tier.ts'
import { generate } from '../../../tools/cache-simulate/generators.ts'
import { footprintOf } from '../../../tools/cache-simulate/trace.ts'
import { temporaryDirectory } from '../../../tools/harness/temporary-directory.ts'
import { sha256, storeBytes } from '../../../tools/harness/store-bytes.ts'
import { faultyFs } from '../../fakes/faulty-fs.ts'
import { bytesOf, openTestCache, readAll, until } from '../../support/cache.ts'

const KEY: ShardKey = { cid: 'hot', part: 1 }
const ID = keyId(KEY)
const BODY = bytesOf('hot', 3_000)

const fresh = async (): Promise<boolean> => true

/** Opens, reads to the end, releases. */
async function visit (cache: ShardCache, key: ShardKey): Promise<CachedObject | undefined> {
  const object = await cache.open(key)
  if (object === undefined) return undefined
  try {
    assert.equal(sha256(await readAll(object)), object.sha256)
  } finally {
    object.release()
  }
  return object
}

test('memory held by slow readers counts until they are done, whatever is evicted or deleted meanwhile', async () => {
  const tier = new RamTier({ maxBytes: 800, onRemoved: () => {} })
  const held: RamObject[] = []
  for (let n = 0; n < 30; n++) {
    await tier.load({ id: `a${n}/1`, size: 100, sha256: 'x' }, fresh)
    const object = tier.lease(`a${n}/1`, 'x')
    if (object !== undefined) held.push(object)
    if (n % 2 === 0) tier.delete(`a${n}/1`, 'purge')
    assert.ok(tier.usedBytes <= 800)
  }
  assert.equal(held.length, 8, 'a full tier takes nothing more')
  for (const object of held) tier.release(object)
  assert.equal(tier.usedBytes, 400)
  assert.equal(await tier.load({ id: 'next/1', size: 100, sha256: 'x' }, fresh), true)
})

test('a full tier copies in what is asked for more often than what would have to go, and nothing else', async () => {
  const tier = new RamTier({ maxBytes: 800, onRemoved: () => {} })
  const ask = (id: string): void => {
    const object = tier.lease(id, 'x')
    if (object !== undefined) tier.release(object)
  }
  const load = async (id: string): Promise<boolean> => await tier.load({ id, size: 100, sha256: 'x' }, fresh)
  for (let n = 0; n < 8; n++) {
    await load(`old${n}/1`)
    ask(`old${n}/1`)
    ask(`old${n}/1`)
  }
  ask('new/1')
  ask('new/1')
  assert.equal(await load('new/1'), false, 'as often')
  ask('new/1')
  assert.equal(await load('new/1'), true, 'more often')
  assert.equal(tier.usedBytes, 800)
})

test('of traffic by a law of Zipf the tier copies little, and serves more than the least recently used would', async () => {
  const { requests, sizes } = generate('zipf', { requests: 20_000, objects: 2_000, alpha: 0.9, seed: 5, bytes: [10, 100] })
  const maxBytes = footprintOf({ sizes }) * 0.02
  const tier = new RamTier({ maxBytes, onRemoved: () => {} })
  const recent = new LeasedStore<Leasable>({ maxBytes, onFree: () => {} })
  const count = { tier: 0, recent: 0, copied: 0 }
  for (const object of requests) {
    const [id, size = 0] = [`o${object}/0`, sizes[object]]
    const inMemory = tier.lease(id, 'x')
    if (inMemory !== undefined) {
      count.tier++
      tier.release(inMemory)
    } else if (await tier.load({ id, size, sha256: 'x' }, fresh)) count.copied++
    if (recent.get(id) !== undefined) count.recent++
    else {
      const reservation = recent.reserve(size)
      if (reservation !== undefined) recent.commit(reservation, { id, size, leases: 0, indexed: false })
    }
  }
  assert.ok(count.tier > count.recent * 1.1, JSON.stringify(count))
  assert.ok(count.copied < requests.length / 10, JSON.stringify(count))
})

test('loads of one id do not overlap, and one that fails leaves nothing behind', async () => {
  const tier = new RamTier({ maxBytes: 8_000, onRemoved: () => {} })
  const gate = deferred<boolean>()
  const first = tier.load({ id: ID, size: 100, sha256: 'x' }, async () => await gate.promise)
  assert.equal(await tier.load({ id: ID, size: 100, sha256: 'x' }, fresh), false)
  assert.equal(tier.usedBytes, 100, 'room is taken while loading')
  gate.reject(new Error('EIO'))
  await assert.rejects(first)
  assert.equal(tier.usedBytes, 0)
  assert.equal(await tier.load({ id: ID, size: 100, sha256: 'x' }, async () => false), false)
  assert.equal(await tier.load({ id: ID, size: 100, sha256: 'x' }, fresh), true)
  assert.equal(await tier.load({ id: ID, size: 100, sha256: 'x' }, fresh), false)
  assert.equal(tier.usedBytes, 100)
})

test('objects above an eighth of the tier stay out; a tier of 0 is off', async () => {
  const tier = new RamTier({ maxBytes: 800, onRemoved: () => {} })
  assert.equal(await tier.load({ id: 'a/1', size: 101, sha256: 'x' }, fresh), false)
  assert.equal(await tier.load({ id: 'a/1', size: 100, sha256: 'x' }, fresh), true)
  const off = new RamTier({ maxBytes: 0, onRemoved: () => {} })
  assert.equal(await off.load({ id: 'a/1', size: 1, sha256: 'x' }, fresh), false)
})

test('bytes of an earlier life of an id are not served for the present one', async () => {
  const removed: string[] = []
  const tier = new RamTier({ maxBytes: 800, onRemoved: (_bytes, reason) => { removed.push(reason) } })
  await tier.load({ id: ID, size: 10, sha256: 'old' }, fresh)
  assert.equal(tier.lease(ID, 'new'), undefined)
  assert.equal(tier.lease(ID, 'old'), undefined)
  assert.deepEqual(removed, ['replaced'])
})

test('any interleaving of loads, leases, releases, deletes and resizes keeps the bound', async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('load' as const), id: fc.constantFrom('a', 'b', 'c', 'd'), size: fc.integer({ min: 0, max: 130 }), ok: fc.boolean() }),
    fc.record({ kind: fc.constant('lease' as const), id: fc.constantFrom('a', 'b', 'c', 'd') }),
    fc.record({ kind: fc.constant('release' as const), pick: fc.nat(50) }),
    fc.record({ kind: fc.constant('delete' as const), id: fc.constantFrom('a', 'b', 'c', 'd') }),
    fc.record({ kind: fc.constant('resize' as const), maxBytes: fc.constantFrom(100, 500, 1_000) })
  )
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), async steps => {
    let live = 0
    const tier = new RamTier({ maxBytes: 1_000, onRemoved: bytes => { live -= bytes } })
    const held: RamObject[] = []
    const loads: Promise<unknown>[] = []
    let allowed = 1_000
    for (const action of steps) {
      if (action.kind === 'load') {
        loads.push(tier.load({ id: action.id, size: action.size, sha256: 'x' }, async () => {
          await nextTurn()
          if (action.ok) live += action.size
          return action.ok
        }))
      } else if (action.kind === 'lease') {
        const object = tier.lease(action.id, 'x')
        if (object !== undefined) held.push(object)
      } else if (action.kind === 'release') {
        const [object] = held.splice(action.pick % Math.max(1, held.length), 1)
        if (object !== undefined) tier.release(object)
        await nextTurn()
      } else if (action.kind === 'delete') {
        tier.delete(action.id, 'purge')
      } else {
        tier.resize(action.maxBytes)
        allowed = Math.max(action.maxBytes, tier.usedBytes)
      }
      assert.ok(tier.usedBytes <= allowed)
      allowed = Math.max(tier.maxBytes, Math.min(allowed, tier.usedBytes))
    }
    await Promise.all(loads)
    for (const object of held) tier.release(object)
    assert.ok(tier.usedBytes <= tier.maxBytes)
    assert.equal(tier.usedBytes, live, 'what is counted is what is alive')
  }), { numRuns: 100 })
})

test('the second hit copies an object to memory, later hits do not touch the disk', async t => {
  const faulty = faultyFs()
  const { cache } = await openTestCache(t, await temporaryDirectory(t), { ramBytes: 100_000, fs: faulty.fs })
  await storeBytes(cache, KEY, BODY)
  assert.equal((await visit(cache, KEY))?.tier, 'disk')
  await cache.flush()
  assert.equal(cache.ram.count, 0)
  assert.equal((await visit(cache, KEY))?.tier, 'disk')
  await cache.flush()
  faulty.counts.clear()
  const object = await visit(cache, KEY)
  assert.equal(object?.tier, 'ram')
  assert.ok(object?.buffer?.equals(BODY))
  assert.equal(faulty.counts.get('open') ?? 0, 0)
})

test('while copies are not allowed, hits stay on disk, and are copied with the next hit after that', async t => {
  let allowed = false
  const { cache } = await openTestCache(t, await temporaryDirectory(t), { ramBytes: 100_000, mayPromote: () => allowed })
  await storeBytes(cache, KEY, BODY)
  for (let hit = 0; hit < 5; hit++) {
    assert.equal((await visit(cache, KEY))?.tier, 'disk')
    await cache.flush()
  }
  assert.equal(cache.ram.count, 0)
  allowed = true
  await visit(cache, KEY)
  await cache.flush()
  assert.equal((await visit(cache, KEY))?.tier, 'ram')
})

test('a crowd on one object loads it once', async t => {
  const faulty = faultyFs()
  const { cache } = await openTestCache(t, await temporaryDirectory(t), { ramBytes: 100_000, fs: faulty.fs })
  await storeBytes(cache, KEY, BODY)
  faulty.counts.clear()
  const objects = await Promise.all(Array.from({ length: 50 }, async () => await cache.open(KEY)))
  await cache.flush()
  assert.deepEqual([faulty.counts.get('open'), faulty.counts.get('read')], [1, 1], 'readers and the load share a descriptor, and nobody else has read yet')
  assert.equal(cache.ram.usedBytes, BODY.length)
  for (const object of objects) object?.release()
  await until(() => faulty.openHandles === 0)
})

test('a file that rotted on disk is found when it would be multiplied, and dropped', async t => {
  const { cache, observer } = await openTestCache(t, await temporaryDirectory(t), { ramBytes: 100_000 })
  await storeBytes(cache, KEY, BODY)
  const entry = cache.disk.peek(ID)
  assert.ok(entry)
  const rotten = Buffer.from(BODY)
  rotten[1_500] = (rotten[1_500] ?? 0) ^ 1
  await writeFile(cache.disk.fileOf(entry), rotten)
  for (let n = 0; n < 2; n++) (await cache.open(KEY))?.release()
  await cache.flush()
  assert.equal(cache.ram.count, 0)
  assert.equal(cache.ram.usedBytes, 0)
  assert.equal(await cache.open(KEY), undefined)
  assert.deepEqual(observer.removals, ['disk invalid'])
})

test('an object purged while it is being loaded does not come back in memory', async t => {
  const faulty = faultyFs()
  const { cache } = await openTestCache(t, await temporaryDirectory(t), { ramBytes: 100_000, fs: faulty.fs })
  await storeBytes(cache, KEY, BODY)
  const gate = deferred<undefined>()
  faulty.decide = async operation => {
    if (operation === 'read') await gate.promise
    return undefined
  }
  for (let n = 0; n < 2; n++) (await cache.open(KEY))?.release()
  await until(() => (faulty.counts.get('read') ?? 0) > 0)
  cache.purge(KEY)
  gate.resolve(undefined)
  await cache.flush()
  assert.equal(cache.ram.usedBytes, 0)
})

test('a disk that fails during the load costs the copy and the entry, not the process', async t => {
  for (const code of ['EIO', 'EACCES']) {
    const faulty = faultyFs()
    const { cache, observer } = await openTestCache(t, await temporaryDirectory(t), { ramBytes: 100_000, fs: faulty.fs })
    await storeBytes(cache, KEY, BODY)
    faulty.decide = operation => operation === 'read' ? code : undefined
    for (let n = 0; n < 2; n++) (await cache.open(KEY))?.release()
    await cache.flush()
    assert.equal(cache.ram.usedBytes, 0)
    assert.equal(cache.has(KEY), false)
    assert.deepEqual(observer.errors, [`read ${code}`])
  }
})

test('an object evicted from disk and stored anew with other bytes is served as it is now', async t => {
  const { cache } = await openTestCache(t, await temporaryDirectory(t), { ramBytes: 100_000, maxBytes: 10_000 })
  await storeBytes(cache, KEY, BODY)
  for (let n = 0; n < 3; n++) {
    await visit(cache, KEY)
    await cache.flush()
  }
  assert.equal(cache.ram.count, 1)
  for (let part = 0; part < 3; part++) await storeBytes(cache, { cid: 'other', part }, bytesOf(`other ${part}`, 3_300))
  assert.equal(cache.has(KEY), false)
  const renewed = bytesOf('renewed', 2_000)
  await storeBytes(cache, KEY, renewed)
  const object = await cache.open(KEY)
  assert.ok(object)
  assert.ok((await readAll(object)).equals(renewed))
  assert.equal(object.sha256, sha256(renewed))
  object.release()
})

test('a purge removes the copy in memory with the file; a reader of either finishes', async t => {
  const { cache } = await openTestCache(t, await temporaryDirectory(t), { ramBytes: 100_000 })
  await storeBytes(cache, KEY, BODY)
  const onDisk = await cache.open(KEY)
  for (let n = 0; n < 2; n++) {
    await visit(cache, KEY)
    await cache.flush()
  }
  const inMemory = await cache.open(KEY)
  assert.ok(onDisk?.tier === 'disk' && inMemory?.tier === 'ram')
  assert.equal(cache.purge(KEY), true)
  assert.equal(await cache.open(KEY), undefined)
  assert.ok((await readAll(onDisk)).equals(BODY))
  assert.ok((await readAll(inMemory)).equals(BODY))
  onDisk.release()
  inMemory.release()
  inMemory.release()
  await cache.flush()
  assert.equal(cache.ram.usedBytes, 0)
  await until(() => cache.disk.usedBytes === 0)
})
