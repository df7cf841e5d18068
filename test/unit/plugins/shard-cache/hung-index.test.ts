import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { deferred } from '../../../../src/base/deferred.ts'
import { CacheHealth } from '../../../../src/plugins/shard-cache/cache-health.ts'
import { DiskStore } from '../../../../src/plugins/shard-cache/disk-store.ts'
import { ShardCache } from '../../../../src/plugins/shard-cache/shard-cache.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'
import { storeBytes } from '../../../../tools/harness/store-bytes.ts'
import { faultyFs } from '../../../fakes/faulty-fs.ts'
import { MemoryIndexDb } from '../../../fakes/index-db.ts'
import { bytesOf, filesIn, manualClock, readAll, recordingObserver, until } from '../../../support/cache.ts'

const key = (n: number): { cid: string, part: number } => ({ cid: `Qm${n}`, part: 0 })

test('an index whose disk hangs costs what is new: hits go on, objects pass through, it is told, and nobody waits', { timeout: 240_000 }, async t => {
  // Timers of the relay keep no process alive.
  const alive = setInterval(() => {}, 1_000)
  t.after(() => { clearInterval(alive) })
  const root = join(await temporaryDirectory(t), 'shards')
  await mkdir(join(root, 'tmp'), { recursive: true })
  const observer = recordingObserver()
  const logs: string[] = []
  const health = new CacheHealth((level, message) => { logs.push(`${level} ${message}`) })
  const db = new MemoryIndexDb()
  const disk = new DiskStore({ root, maxBytes: 100_000, passThroughBytes: 1_000_000, fs: faultyFs().fs, db, clock: manualClock(), bootId: 'boot', observer, health, indexTimeoutMs: 20 })
  const cache = new ShardCache({ disk, db, ramBytes: 0, observer, reconciled: Promise.resolve({ confirmed: 0, orphansRemoved: 0, adopted: 0, found: 0, missingDropped: 0, errors: 0 }) })
  assert.ok(await storeBytes(cache, key(1), bytesOf('1', 1_000)))
  const hang = deferred<undefined>()
  db.beforeWrite = async () => { await hang.promise }
  await cache.flush()
  assert.deepEqual([disk.index.late, health.worst, logs, observer.errors], [true, 'index', ['warn cache index cannot be written'], ['index TIMEOUT']])

  const hit = await cache.open(key(1))
  assert.ok(hit !== undefined && bytesOf('1', 1_000).equals(await readAll(hit)))
  hit.release()
  for (let n = 2; n < 50; n++) assert.equal(await storeBytes(cache, key(n), bytesOf(String(n), 1_000)), false)
  assert.equal((await filesIn(root)).files.size, 1)
  assert.ok(disk.index.pending <= 2, `${disk.index.pending} changes wait`)
  await assert.rejects(cache.list({ limit: 10 }), { code: 'RELAY_ERR_CACHE_READ', message: 'the index of the cache does not answer' })
  await cache.flush()

  hang.resolve(undefined)
  await until(() => !disk.index.late)
  assert.equal(await storeBytes(cache, key(60), bytesOf('60', 1_000)), true)
  await cache.flush()
  assert.deepEqual([health.worst, logs.at(-1)], [undefined, 'info cache index is written again'])
  assert.deepEqual((await cache.list({ limit: 10 })).entries.map(({ cid }) => cid), ['Qm1', 'Qm60'])
})
