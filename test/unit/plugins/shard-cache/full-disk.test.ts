import assert from 'node:assert/strict'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { CacheHealth } from '../../../../src/plugins/shard-cache/cache-health.ts'
import { DiskStore } from '../../../../src/plugins/shard-cache/disk-store.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'
import { storeBytes } from '../../../../tools/harness/store-bytes.ts'
import { faultyFs, type FaultyFs } from '../../../fakes/faulty-fs.ts'
import { MemoryIndexDb } from '../../../fakes/index-db.ts'
import { bytesOf, filesIn, manualClock, type ManualClock, openTestCache, readAll, recordingObserver } from '../../../support/cache.ts'

const SIZE = 1_000
const key = (n: number): { cid: string, part: number } => ({ cid: `Qm${n}`, part: 0 })

interface Rig { readonly store: DiskStore, readonly root: string, readonly faulty: FaultyFs, readonly logs: string[], readonly health: CacheHealth, readonly bypassed: string[], readonly clock: ManualClock }

/** A store that may keep 100 objects on a disk that holds ten, those of others not counted. */
async function rig (t: TestContext, minFreeBytes = 0): Promise<Rig> {
  const root = join(await temporaryDirectory(t), 'shards')
  await mkdir(join(root, 'tmp'), { recursive: true })
  const faulty = faultyFs()
  const logs: string[] = []
  const health = new CacheHealth((level, message) => { logs.push(`${level} ${message}`) })
  const observer = recordingObserver()
  const clock = manualClock()
  const store = new DiskStore({ root, maxBytes: 100 * SIZE, passThroughBytes: 1_000_000, minFreeBytes, fs: faulty.fs, db: new MemoryIndexDb(), clock, bootId: 'boot', observer, health })
  return { store, root, faulty, logs, health, bypassed: observer.bypassed, clock }
}

const used = async (root: string): Promise<number> => {
  const { bytes } = await filesIn(root)
  return bytes
}

suite('a disk that is full below max_bytes', () => {
  for (const operation of ['write', 'create', 'datasync', 'rename'] as const) {
    test(`${operation}: the oldest go, the new one is stored, one line says so`, async t => {
      const { store, root, faulty, logs, health, bypassed } = await rig(t)
      for (let n = 0; n < 10; n++) assert.ok(await storeBytes(store, key(n), bytesOf(String(n), SIZE)))
      faulty.decide = async which => which === operation && await used(root) >= 10 * SIZE ? 'ENOSPC' : undefined
      for (let n = 10; n < 30; n++) assert.equal(await storeBytes(store, key(n), bytesOf(String(n), SIZE)), true, `object ${n}`)
      assert.deepEqual(bypassed, [])
      assert.ok(store.count >= 8 && store.count <= 11, String(store.count))
      assert.notEqual(store.peek('Qm29/0'), undefined)
      assert.equal(store.peek('Qm0/0'), undefined)
      assert.equal(health.worst, 'full')
      assert.deepEqual(logs, ['warn cache disk is nearly full, the cache keeps less than max_bytes'])
    })
  }

  test('with nothing of ours to evict: objects pass through, and that is not a mere counter', async t => {
    const { store, faulty, logs, health, bypassed } = await rig(t)
    faulty.decide = which => which === 'write' ? 'ENOSPC' : undefined
    assert.equal(await storeBytes(store, key(1), bytesOf('1', SIZE)), false)
    assert.deepEqual(bypassed, ['disk-error'])
    assert.equal(health.has('failing'), true)
    faulty.decide = () => undefined
    assert.equal(await storeBytes(store, key(1), bytesOf('1', SIZE)), true)
    assert.equal(health.has('failing'), false)
    assert.ok(logs.includes('warn cache disk does not store, objects pass through'))
    assert.ok(logs.includes('info cache disk stores again'))
  })

  test('read-only: one line when it begins, one when it is over', async t => {
    const { store, faulty, logs } = await rig(t)
    faulty.decide = which => which === 'create' ? 'EROFS' : undefined
    for (let n = 0; n < 5; n++) assert.equal(await storeBytes(store, key(n), bytesOf('1', SIZE)), false)
    faulty.decide = () => undefined
    assert.equal(await storeBytes(store, key(1), bytesOf('1', SIZE)), true)
    assert.deepEqual(logs, ['warn cache disk does not store, objects pass through', 'info cache disk stores again'])
  })

  test('min_free_bytes: the bound comes down with the free space and up again', async t => {
    const { store, root, faulty, health, logs, clock } = await rig(t, 5 * SIZE)
    let others = 0
    let onDisk = 0
    faulty.freeBytes = () => 20 * SIZE - others - onDisk
    const look = async (): Promise<void> => {
      await store.flush()
      onDisk = await used(root)
      await store.lookAtSpace()
    }
    for (let n = 0; n < 30; n++) {
      await storeBytes(store, key(n), bytesOf(String(n), SIZE))
      await look()
      assert.ok((store.freeBytes ?? 0) >= 4 * SIZE, `${store.freeBytes ?? 0} bytes free`)
    }
    assert.equal(store.count, 15)
    others = 10 * SIZE
    await look()
    assert.equal(store.count, 5)
    assert.equal(health.worst, 'full')
    // What waits to be unlinked is not evicted for a second time.
    await look()
    assert.equal(store.count, 5)
    others = 0
    clock.advance(60_000)
    await look()
    assert.equal(health.worst, undefined)
    assert.equal(store.maxBytes, 15 * SIZE)
    assert.deepEqual(logs, ['warn cache disk is nearly full, the cache keeps less than max_bytes', 'info cache disk has room again'])
  })
})

suite('a cache directory that is emptied under a running relay', () => {
  for (const [what, victims] of Object.entries({ everything: ['shards', 'index'], 'shards/tmp': ['shards/tmp'], 'all of shards': ['shards'] })) {
    test(`${what}: heals itself with one warning, and survives a restart`, async t => {
      const path = await temporaryDirectory(t)
      const first = await openTestCache(t, path)
      for (let n = 0; n < 5; n++) assert.ok(await storeBytes(first.cache, key(n), bytesOf(String(n), SIZE)))
      await first.cache.flush()
      for (const victim of victims) await rm(join(path, victim), { recursive: true })
      await first.look()
      await first.look()
      const kept = victims.includes('shards') ? 0 : 5
      assert.equal(first.cache.disk.count, kept)
      assert.equal(first.cache.disk.usedBytes, kept * SIZE)
      assert.deepEqual(first.logs.filter(line => line.startsWith('warn')), ['warn cache directory was emptied by somebody, begun anew'])
      assert.ok(await storeBytes(first.cache, key(9), bytesOf('9', SIZE)))
      await first.close()
      const second = await openTestCache(t, path)
      assert.equal(second.restored, kept + 1)
      const object = await second.cache.open(key(9))
      assert.ok(object !== undefined)
      assert.deepEqual(await readAll(object), bytesOf('9', SIZE))
      object.release()
    })
  }

  test('between two looks: bodies are stored all the same', async t => {
    const path = await temporaryDirectory(t)
    const { cache, observer } = await openTestCache(t, path)
    for (const name of await readdir(path)) await rm(join(path, name), { recursive: true })
    assert.ok(await storeBytes(cache, key(1), bytesOf('1', SIZE)))
    assert.deepEqual(observer.bypassed, [])
  })
})
