/** What ends the check of the index, what that says about it, and what becomes of the files. */
import { once } from 'node:events'
import assert from 'node:assert/strict'
import { mkdir, readdir, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { open } from 'lmdb'
import { systemTimers } from '../../../../src/base/clock.ts'
import { relativeFile } from '../../../../src/plugins/shard-cache/entry.ts'
import { checkIndex, type IndexVerdict } from '../../../../src/plugins/shard-cache/index-check.ts'
import { keyId, type ShardKey } from '../../../../src/protocol/shard-key.ts'
import { sha256, storeBytes } from '../../../../tools/harness/store-bytes.ts'
import { bytesOf, filesIn, manualClock, openTestCache, readAll, type TestCache } from '../../../support/cache.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'

const COUNT = 30
const key = (n: number): ShardKey => ({ cid: `cid-${n}`, part: n % 14 })
const body = (n: number): Buffer => bytesOf(`body ${n}`, 1_000 + n)

/** A cache directory of an earlier run with some objects. */
async function left (t: TestContext): Promise<string> {
  const path = await temporaryDirectory(t)
  const before = await openTestCache(t, path)
  for (let n = 0; n < COUNT; n++) assert.ok(await storeBytes(before.cache, key(n), body(n)))
  await before.close()
  return path
}

/** Changes records as they stand in the index. */
async function rewrite (path: string, change: (bytes: Buffer) => void): Promise<void> {
  const raw = open<Buffer, string>({ path: join(path, 'index'), encoding: 'binary', noSubdir: false })
  for (const { key: id, value } of Array.from(raw.getRange())) {
    change(value)
    await raw.put(id, value)
  }
  await raw.close()
}

async function expectAll ({ cache }: TestCache): Promise<void> {
  for (let n = 0; n < COUNT; n++) {
    const object = await cache.open(key(n))
    assert.ok(object, `${n} is a miss`)
    assert.ok((await readAll(object)).equals(body(n)))
    object.release()
  }
}

suite('a check', () => {
  const checked = async (t: TestContext, program: string, options: { silentMs?: number, signal?: AbortSignal } = {}): Promise<IndexVerdict> => {
    const directory = await temporaryDirectory(t)
    await writeFile(join(directory, 'data.mdb'), '')
    return await checkIndex(directory, { timers: systemTimers, program, ...options })
  }

  test('that LMDB leads astray, or that finds something, means damage', async t => {
    for (const program of ['SIGSEGV', 'SIGBUS', 'SIGABRT'].map(signal => `process.kill(process.pid, '${signal}'); setInterval(() => {}, 1000)`).concat("process.stderr.write('hole'); process.exitCode = 3")) {
      assert.equal((await checked(t, program)).is, 'damaged', program)
    }
  })

  test('that is ended by anything else, says nothing for too long, cannot start or is called off says nothing about the index', async t => {
    for (const program of ['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGHUP'].map(signal => `process.kill(process.pid, '${signal}'); setInterval(() => {}, 1000)`).concat("throw new Error('EMFILE')", 'process.exit(1)')) {
      assert.equal((await checked(t, program)).is, 'inconclusive', program)
    }
    assert.deepEqual(await checked(t, 'setInterval(() => {}, 1000)', { silentMs: 200 }), { is: 'inconclusive', why: 'the check ended with SIGKILL' })
    assert.deepEqual(await checked(t, '', { signal: AbortSignal.abort() }), { is: 'inconclusive', why: 'the relay stops' })
    const abort = new AbortController()
    const stopped = checked(t, 'setInterval(() => {}, 1000)', { signal: abort.signal })
    abort.abort()
    assert.equal((await stopped).is, 'inconclusive')
  })

  test('stands in a process group of its own, so that Ctrl-C at the terminal of the relay does not end it', async t => {
    const program = "const { readFileSync } = await import('node:fs'); const [, , group] = readFileSync('/proc/self/stat', 'latin1').split(') ')[1].split(' '); if (Number(group) !== process.pid) process.exitCode = 3"
    if (process.platform !== 'linux') return t.skip('/proc is of Linux')
    assert.deepEqual(await checked(t, program), { is: 'sound' })
  })

  test('of a sound index, and of none, ends well', async t => {
    const path = await left(t)
    assert.deepEqual(await checkIndex(join(path, 'index'), { timers: systemTimers }), { is: 'sound' })
    assert.deepEqual(await checkIndex(join(path, 'none'), { timers: systemTimers }), { is: 'sound' })
  })
})

suite('files', () => {
  test('stay when the check says nothing, however often: it is tried again, and then the index is opened', async t => {
    const path = await left(t)
    let asked = 0
    const after = await openTestCache(t, path, { check: async () => { asked++; return { is: 'inconclusive', why: 'SIGKILL' } } })
    assert.deepEqual([asked, after.restored], [2, COUNT])
    assert.deepEqual([(await after.cache.reconciled).confirmed, (await readdir(path)).filter(name => name.includes('damaged'))], [COUNT, []])
    assert.equal(after.logs.filter(line => line.includes('could not be checked')).length, 2)
    await expectAll(after)
  })

  test('of an index that was replaced are taken over as they are, the later one of two', async t => {
    const path = await left(t)
    const older = join(path, 'shards', relativeFile(keyId(key(3)), 'zzz'))
    await writeFile(older, bytesOf('older', 500))
    await utimes(older, 1, 1)
    const after = await openTestCache(t, path, { check: async () => ({ is: 'damaged', why: 'SIGSEGV' }) })
    assert.equal(after.restored, 0)
    const report = await after.cache.reconciled
    assert.deepEqual([report.found, report.orphansRemoved, report.errors], [COUNT, 1, 0])
    await expectAll(after)
    assert.equal(after.cache.details(key(1))?.sha256, sha256(body(1)))
    await after.close()
    const next = await openTestCache(t, path)
    assert.equal(next.restored, COUNT)
  })

  test('of an index that was replaced are not taken for orphans when the relay is killed before it has taken them over, however often', async t => {
    const path = await left(t)
    const pace = async (signal: AbortSignal): Promise<void> => { if (!signal.aborted) await once(signal, 'abort') }
    for (const check of [async (): Promise<IndexVerdict> => ({ is: 'damaged', why: 'SIGSEGV' }), undefined, async (): Promise<IndexVerdict> => ({ is: 'damaged', why: 'SIGBUS' })]) {
      const stopped = await openTestCache(t, path, { pace, ...check === undefined ? {} : { check } })
      await stopped.close()
      assert.ok((await readdir(path)).includes('index.damaged'))
    }
    const after = await openTestCache(t, path)
    assert.equal((await after.cache.reconciled).found, COUNT)
    await expectAll(after)
    await after.close()
    const names = (await readdir(path)).filter(name => name.startsWith('index.'))
    assert.deepEqual(names.map(name => name.replace(/\d+$/, '')), ['index.damaged-', 'index.damaged-'])
    // From now on, whatever has no entry was purged.
    const stray = join(path, 'shards', relativeFile('purged/1', 'gone'))
    await mkdir(join(stray, '..'), { recursive: true })
    await writeFile(stray, 'purged')
    const next = await openTestCache(t, path)
    const report = await next.cache.reconciled
    assert.deepEqual([report.confirmed, report.orphansRemoved, report.found], [COUNT, 1, 0])
  })

  test('whose records another version has written stay hits, and the records are written anew', async t => {
    const path = await left(t)
    await rewrite(path, bytes => { bytes[0] = 2 })
    const after = await openTestCache(t, path)
    assert.equal(after.restored, 0)
    assert.deepEqual(after.logs.filter(line => line.includes('cache index')), ['warn cache index loaded'])
    assert.equal((await after.cache.reconciled).found, COUNT)
    await expectAll(after)
    await after.close()
    const next = await openTestCache(t, path)
    assert.equal(next.restored, COUNT)
  })

  test('without a record of any kind were purged, and go', async t => {
    const path = await left(t)
    const stray = join(path, 'shards', relativeFile('purged/1', 'gone'))
    await mkdir(join(stray, '..'), { recursive: true })
    await writeFile(stray, 'purged')
    const after = await openTestCache(t, path)
    const report = await after.cache.reconciled
    assert.deepEqual([report.confirmed, report.orphansRemoved, report.found], [COUNT, 1, 0])
    assert.equal((await filesIn(join(path, 'shards'))).files.size, COUNT)
  })

  test('outlive a clock that was 230 years ahead for a moment, and are not the most recent for good', async t => {
    const path = await temporaryDirectory(t)
    const clock = manualClock()
    const before = await openTestCache(t, path, { clock })
    const ahead = 230 * 365.25 * 86_400_000
    for (let n = 0; n < COUNT; n++) {
      if (n === 5) clock.advance(ahead)
      assert.ok(await storeBytes(before.cache, key(n), body(n)))
      if (n === 5) clock.advance(-ahead)
    }
    await before.close()
    const after = await openTestCache(t, path, { clock })
    assert.equal(after.restored, COUNT)
    for (const { storedAt, lastAccess } of after.cache.disk.firstOut()) assert.ok(storedAt <= clock.now() && lastAccess <= clock.now())
    await expectAll(after)
  })
})
