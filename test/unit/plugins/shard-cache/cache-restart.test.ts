import { test } from 'node:test'
import assert from 'node:assert/strict'
import { cp, mkdir, readFile, readdir, rename, rm, symlink, truncate, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { deferred } from '../../../../src/base/deferred.ts'
import { relativeFile } from '../../../../src/plugins/shard-cache/entry.ts'
import { openIndexDb } from '../../../../src/plugins/shard-cache/index-db.ts'
import { checkManifest, parseManifest } from '../../../../src/plugins/shard-cache/manifest.ts'
import type { ShardCache } from '../../../../src/plugins/shard-cache/shard-cache.ts'
import { keyId, type ShardKey } from '../../../../src/protocol/shard-key.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'
import { never, sha256, storeBytes } from '../../../../tools/harness/store-bytes.ts'
import { faultyFs } from '../../../fakes/faulty-fs.ts'
import { bytesOf, filesIn, manualClock, openTestCache, readAll } from '../../../support/cache.ts'

const key = (n: number): ShardKey => ({ cid: `cid-${n}`, part: n % 14 })
const body = (n: number): Buffer => bytesOf(`body ${n}`, 1_000 + n)

async function fill (cache: ShardCache, count: number): Promise<void> {
  for (let n = 0; n < count; n++) assert.ok(await storeBytes(cache, key(n), body(n)))
}

async function touch (cache: ShardCache, n: number): Promise<void> {
  const object = await cache.open(key(n))
  assert.ok(object)
  object.release()
}

function fileOf (cache: ShardCache, n: number): string {
  const entry = cache.disk.peek(keyId(key(n)))
  assert.ok(entry)
  return cache.disk.fileOf(entry)
}

async function expectBody (cache: ShardCache, n: number): Promise<void> {
  const object = await cache.open(key(n))
  assert.ok(object, `entry ${n}`)
  assert.equal(object.sha256, sha256(body(n)))
  assert.ok((await readAll(object)).equals(body(n)))
  object.release()
}

test('the videos offered are of the 1,000 manifests used last, whatever else was stored since, stored last first, as many as are asked for', async t => {
  const { cache } = await openTestCache(t, await temporaryDirectory(t))
  const adopt = (id: string, storedAt: number): void => { assert.ok(cache.disk.adopt(id, { size: 1, sha256: sha256(body(1)), storedAt, lastAccess: storedAt, hits: 0, generation: 'a' })) }
  adopt('old/manifest', 1)
  adopt('late/manifest', 3)
  adopt('middle/manifest', 2)
  assert.deepEqual(cache.recentVideos(2), [{ cid: 'late', storedAt: 3 }, { cid: 'middle', storedAt: 2 }])
  for (let n = 0; n < 1_000; n++) adopt(`c${n}/0`, 4)
  assert.deepEqual(cache.recentVideos(20).map(({ cid }) => cid), ['late', 'middle', 'old'])
  cache.purge({ cid: 'late', part: 'manifest' })
  assert.ok(cache.disk.find('middle/manifest'))
  assert.deepEqual(cache.recentVideos(20).map(({ cid }) => cid), ['middle', 'old'])
  for (let n = 0; n < 999; n++) adopt(`c${n}/manifest`, 0)
  assert.deepEqual(cache.recentVideos(2).map(({ cid }) => cid), ['middle', 'c998'])
})

test('the comparison of index and directory goes at the pace it is given, and a stop ends its pauses', async t => {
  const path = await temporaryDirectory(t)
  const before = await openTestCache(t, path)
  await fill(before.cache, 20)
  await before.close()
  const paused: (() => void)[] = []
  const pace = async (signal: AbortSignal): Promise<void> => {
    await new Promise<void>(resolve => {
      paused.push(resolve)
      signal.addEventListener('abort', () => { resolve() })
    })
  }
  const after = await openTestCache(t, path, { pace })
  let done = false
  void after.cache.reconciled.then(() => { done = true })
  for (let step = 1; step <= 5; step++) {
    while (paused.length < step) await new Promise(resolve => { setImmediate(resolve) })
    for (let n = 0; n < 20; n++) await expectBody(after.cache, n)
    assert.equal(done, false)
    paused[step - 1]?.()
  }
  await after.close()
  assert.ok((await after.cache.reconciled).confirmed < 20)
  assert.equal(after.cache.disk.count, 20, 'what was not looked at is not dropped')
})

test('a restart restores entries, order, sizes, digests, times and hits', async t => {
  const path = await temporaryDirectory(t)
  const clock = manualClock()
  const before = await openTestCache(t, path, { clock })
  await fill(before.cache, 20)
  for (const n of [7, 3, 7, 12]) {
    clock.advance(5)
    await touch(before.cache, n)
  }
  const order = Array.from(before.cache.disk.firstOut(), ({ id, size, sha256, storedAt, lastAccess, hits, generation }) => ({ id, size, sha256, storedAt, lastAccess, hits, generation }))
  await before.close()

  clock.advance(1_000)
  const after = await openTestCache(t, path, { clock })
  assert.equal(after.restored, 20)
  assert.deepEqual(Array.from(after.cache.disk.firstOut(), ({ id, size, sha256, storedAt, lastAccess, hits, generation }) => ({ id, size, sha256, storedAt, lastAccess, hits, generation })), order)
  assert.equal(after.cache.disk.usedBytes, before.cache.disk.usedBytes)
  assert.equal(after.cache.details(key(7))?.hits, 2)
  const report = await after.cache.reconciled
  assert.deepEqual(report, { confirmed: 20, orphansRemoved: 0, adopted: 0, found: 0, missingDropped: 0, errors: 0 })
  for (let n = 0; n < 20; n++) await expectBody(after.cache, n)
})

test('an unclean end keeps what was flushed, removes the rest as orphans and half-written files before anything is served', async t => {
  const path = await temporaryDirectory(t)
  const before = await openTestCache(t, path)
  await fill(before.cache, 5)
  await before.cache.flush()
  const copy = await temporaryDirectory(t)
  await storeBytes(before.cache, key(5), body(5))
  const { spool } = await before.cache.createSpool(key(6), 1_000, true)
  await spool.append(bytesOf('half', 500), never)
  // What a kill leaves: files up to now, the index as of the last flush.
  await cp(path, copy, { recursive: true, filter: source => source !== join(path, 'lock') })
  await spool.close()
  assert.equal((await readdir(join(copy, 'shards', 'tmp'))).length, 1)

  const after = await openTestCache(t, copy)
  assert.deepEqual(await readdir(join(copy, 'shards', 'tmp')), [])
  assert.equal(after.cache.has(key(6)), false)
  const report = await after.cache.reconciled
  assert.deepEqual(report, { confirmed: 5, orphansRemoved: 1, adopted: 0, found: 0, missingDropped: 0, errors: 0 })
  assert.equal((await filesIn(join(copy, 'shards'))).bytes, after.cache.disk.indexedBytes)
  for (let n = 0; n < 5; n++) await expectBody(after.cache, n)
})

test('what kills left of state files that were being written goes when it is old; nothing else does', async t => {
  const path = await temporaryDirectory(t)
  const clock = manualClock(Date.now())
  await mkdir(join(path, 'tls'))
  const left = ['denied.json.0a7e1c52-6f0b-4b5e-9a53-0d7c1f1f2e11.tmp', 'admin-token.0123456789abcdef.tmp', join('tls', 'next.pem.0a7e1c52-6f0b-4b5e-9a53-0d7c1f1f2e12.tmp')]
  const kept = ['notes.tmp', 'denied.json', 'upstreams.json.damaged-1700000000000', join('tls', 'current.pem')]
  for (const name of [...left, ...kept]) await writeFile(join(path, name), 'x')
  const there = async (): Promise<string[]> => {
    const names = await readdir(path, { recursive: true })
    return [...left, ...kept].filter(name => names.includes(name))
  }
  const young = await openTestCache(t, path, { clock })
  assert.deepEqual(await there(), [...left, ...kept], 'another relay may be writing it')
  await young.close()
  clock.advance(120_000)
  await openTestCache(t, path, { clock })
  assert.deepEqual(await there(), kept)
})

test('missing and resized files drop their entries, strays and misplaced copies are removed, the index follows', async t => {
  const path = await temporaryDirectory(t)
  const before = await openTestCache(t, path)
  await fill(before.cache, 8)
  const files = Array.from({ length: 8 }, (_, n) => fileOf(before.cache, n))
  await before.close()
  const root = join(path, 'shards')
  const [gone = '', short = '', long = '', moved = ''] = files
  await unlink(gone)
  await truncate(short, 10)
  await writeFile(long, bytesOf('longer', 5_000))
  await mkdir(join(root, '00', '00'), { recursive: true })
  await rename(moved, join(root, '00', '00', moved.split('/').at(-1) ?? ''))
  await writeFile(join(root, '00', '00', 'notes.txt'), 'stray')
  await writeFile(join(root, '00', '00', 'cid-9.77.g'), 'no such shard')

  const after = await openTestCache(t, path)
  assert.equal(after.restored, 8)
  const report = await after.cache.reconciled
  assert.deepEqual(report, { confirmed: 4, orphansRemoved: 5, adopted: 0, found: 0, missingDropped: 4, errors: 0 })
  await after.cache.flush()
  assert.equal((await filesIn(root)).bytes, after.cache.disk.indexedBytes)
  for (let n = 0; n < 8; n++) assert.equal(after.cache.has(key(n)), n >= 4)
  await after.close()
  const db = openIndexDb(join(path, 'index'))
  assert.equal(Array.from(db.load()).length, 4)
  await db.close()
})

test('a capacity lowered between runs drops the least recently used first, their files too', async t => {
  const path = await temporaryDirectory(t)
  const before = await openTestCache(t, path)
  await fill(before.cache, 10)
  for (const n of [0, 1, 2]) await touch(before.cache, n)
  await before.close()
  const after = await openTestCache(t, path, { maxBytes: 5_100 })
  assert.deepEqual(Array.from(after.cache.disk.firstOut(), ({ id }) => id), [8, 9, 0, 1, 2].map(n => keyId(key(n))).slice(-after.restored))
  assert.ok(after.cache.disk.usedBytes <= 5_100 && after.restored >= 4)
  await after.cache.reconciled
  await after.cache.flush()
  assert.equal((await filesIn(join(path, 'shards'))).bytes, after.cache.disk.indexedBytes)
  await after.close()
  const again = await openTestCache(t, path)
  assert.equal(again.restored, after.restored)
})

test('two relays on one directory are refused, by whatever name they know it, until the first has closed', async t => {
  const path = await temporaryDirectory(t)
  const first = await openTestCache(t, path)
  await assert.rejects(openTestCache(t, path), { code: 'RELAY_ERR_CACHE_PATH', message: /in use by another relay/ })
  await assert.rejects(openTestCache(t, `${path}/../${path.split('/').at(-1)}/`), { code: 'RELAY_ERR_CACHE_PATH' })
  const link = join(await temporaryDirectory(t), 'link')
  await symlink(path, link)
  await assert.rejects(openTestCache(t, link), { code: 'RELAY_ERR_CACHE_PATH' })
  await fill(first.cache, 1)
  await first.close()
  await first.close()
  const second = await openTestCache(t, link)
  assert.equal(second.restored, 1)
})

test('a path that cannot be used is RELAY_ERR_CACHE_PATH naming it, and leaves the directory free', async t => {
  const base = await temporaryDirectory(t)
  await writeFile(join(base, 'file'), 'not a directory')
  await assert.rejects(openTestCache(t, join(base, 'file')), { code: 'RELAY_ERR_CACHE_PATH', message: /file cannot be written: (EEXIST|ENOTDIR)/ })
  await assert.rejects(openTestCache(t, '/proc/icn-relay'), { code: 'RELAY_ERR_CACHE_PATH', message: /\/proc\/icn-relay/ })
  for (const [operation, code] of [['mkdir', 'EACCES'], ['create', 'EROFS'], ['open', 'EROFS'], ['readdir', 'EIO'], ['unlink', 'EACCES']] as const) {
    const faulty = faultyFs()
    faulty.decide = name => name === operation || (operation === 'open' && name === 'create') ? code : undefined
    const path = join(base, 'cache')
    await assert.rejects(openTestCache(t, path, { fs: faulty.fs }), { code: 'RELAY_ERR_CACHE_PATH', message: new RegExp(`${path}.*${code}`) }, operation)
  }
  const path = join(base, 'other')
  await mkdir(join(path, 'shards', 'tmp', 'a-directory'), { recursive: true })
  await assert.rejects(openTestCache(t, path), { code: 'RELAY_ERR_CACHE_PATH' })
  await rm(path, { recursive: true })
  await mkdir(join(path, 'index', 'data.mdb'), { recursive: true })
  const opened = await openTestCache(t, path)
  assert.equal(opened.restored, 0)
  assert.ok((await readdir(path)).some(name => name.startsWith('index.damaged')))
})

test('a directory that cannot be listed keeps its entries: unknown is not missing', async t => {
  const path = await temporaryDirectory(t)
  const before = await openTestCache(t, path)
  await fill(before.cache, 6)
  await before.close()
  const faulty = faultyFs()
  faulty.decide = (operation, file) => operation === 'readdir' && !file.endsWith('tmp') ? 'EIO' : undefined
  const after = await openTestCache(t, path, { fs: faulty.fs })
  const report = await after.cache.reconciled
  assert.equal(report.missingDropped, 0)
  assert.ok(report.errors > 0)
  for (let n = 0; n < 6; n++) await expectBody(after.cache, n)
})

test('a manifest and its files move a warm cache: next to the copy at start, or imported while running', async t => {
  const path = await temporaryDirectory(t)
  const origin = await openTestCache(t, path)
  await fill(origin.cache, 6)
  await touch(origin.cache, 0)
  const text = Array.from(origin.cache.exportManifest()).join('')
  await origin.close()
  const exported = parseManifest(text)
  assert.deepEqual(exported.map(keyId), [1, 2, 3, 4, 5, 0].map(n => keyId(key(n))))

  const cold = await temporaryDirectory(t)
  await cp(join(path, 'shards'), join(cold, 'shards'), { recursive: true })
  await writeFile(join(cold, 'cache_manifest.json'), text)
  const started = await openTestCache(t, cold)
  assert.equal(started.restored, 0)
  assert.equal((await started.cache.reconciled).adopted, 6)
  for (let n = 0; n < 6; n++) await expectBody(started.cache, n)
  await started.close()
  const restarted = await openTestCache(t, cold)
  assert.equal(restarted.restored, 6)

  const running = await openTestCache(t, await temporaryDirectory(t))
  await storeBytes(running.cache, key(2), body(2))
  await cp(join(path, 'shards'), running.cache.disk.root, { recursive: true })
  const rotten = running.cache.disk.root + '/' + relativeFile(keyId(key(3)), exported.find(({ cid }) => cid === 'cid-3')?.generation ?? '')
  await writeFile(rotten, bytesOf('rot', body(3).length))
  await unlink(running.cache.disk.root + '/' + relativeFile(keyId(key(4)), exported.find(({ cid }) => cid === 'cid-4')?.generation ?? ''))
  assert.deepEqual(await running.cache.importManifest(JSON.parse(text)), { adopted: 3, known: 1, rejected: 2 })
  assert.deepEqual(await running.cache.importManifest(JSON.parse(text)), { adopted: 0, known: 4, rejected: 2 })
  for (const n of [0, 1, 2, 5]) await expectBody(running.cache, n)
})

test('files copied into a cache that has no room for them are refused, not squeezed in', async t => {
  const path = await temporaryDirectory(t)
  const origin = await openTestCache(t, path)
  await fill(origin.cache, 5)
  const text = Array.from(origin.cache.exportManifest()).join('')
  await origin.close()
  const small = await openTestCache(t, await temporaryDirectory(t), { maxBytes: 2_100 })
  await cp(join(path, 'shards'), small.cache.disk.root, { recursive: true })
  assert.deepEqual(await small.cache.importManifest(JSON.parse(text)), { adopted: 2, known: 0, rejected: 3 })
  assert.ok(small.cache.disk.usedBytes <= 2_100)
})

test('an import waits for reconciliation, which would otherwise remove the files under it', async t => {
  const path = await temporaryDirectory(t)
  const origin = await openTestCache(t, path)
  await fill(origin.cache, 3)
  const manifest: unknown = JSON.parse(Array.from(origin.cache.exportManifest()).join(''))
  await origin.close()
  const cold = await temporaryDirectory(t)
  await cp(join(path, 'shards'), join(cold, 'shards'), { recursive: true })
  const faulty = faultyFs()
  const gate = deferred<undefined>()
  let unlinks = 0
  faulty.decide = async operation => {
    if (operation === 'unlink' && unlinks++ > 0) await gate.promise
    return undefined
  }
  const opened = await openTestCache(t, cold, { fs: faulty.fs })
  const imported = opened.cache.importManifest(manifest)
  gate.resolve(undefined)
  assert.deepEqual(await imported, { adopted: 0, known: 0, rejected: 3 })
  assert.equal(opened.cache.disk.count, 0)
})

const valid = { cid: 'a', part: 1, size: 10, sha256: 'ab'.repeat(32), storedAt: 1, lastAccess: 2, hits: 0, generation: 'g1' }

test('a malformed manifest is RELAY_ERR_MANIFEST that says what is wrong, and nothing is taken over', async t => {
  const { cache } = await openTestCache(t, await temporaryDirectory(t))
  const of = (entry: unknown): unknown => ({ version: 1, entries: [valid, entry] })
  const fields = /^entries\[1\] has a missing or malformed size, sha256/
  const cases: [unknown, RegExp][] = [
    [undefined, /version must be 1/], [null, /version must be 1/], [[], /version must be 1/], ['x', /version must be 1/], [7, /version must be 1/],
    [{}, /version must be 1/], [{ version: 2, entries: [] }, /version must be 1/], [{ version: '1', entries: [] }, /version must be 1/],
    [{ version: 1 }, /entries must be an array/], [{ version: 1, entries: {} }, /entries must be an array/],
    [of(null), /entries\[1\]\.cid/], [of(3), /entries\[1\]\.cid/], [of({}), /entries\[1\]\.cid/],
    [of({ ...valid, cid: '../etc' }), /entries\[1\]\.cid/], [of({ ...valid, cid: 'a/b' }), /entries\[1\]\.cid/], [of({ ...valid, cid: 'a'.repeat(129) }), /entries\[1\]\.cid/], [of({ ...valid, cid: '' }), /entries\[1\]\.cid/],
    [of({ ...valid, part: 14 }), /entries\[1\]\.part/], [of({ ...valid, part: -1 }), /entries\[1\]\.part/], [of({ ...valid, part: '1' }), /entries\[1\]\.part/], [of({ ...valid, part: 1.5 }), /entries\[1\]\.part/],
    [of({ ...valid, size: -1 }), fields], [of({ ...valid, size: 1.5 }), fields], [of({ ...valid, size: 2 ** 60 }), fields], [of({ ...valid, size: '10' }), fields],
    [of({ ...valid, sha256: 'AB'.repeat(32) }), fields], [of({ ...valid, sha256: 'ab' }), fields], [of({ ...valid, hits: -1 }), fields], [of({ ...valid, hits: null }), fields],
    [of({ ...valid, generation: '../x' }), fields], [of({ ...valid, generation: '' }), fields], [of({ ...valid, generation: 'g'.repeat(25) }), fields],
    [of({ ...valid, lastAccess: 1e300 }), fields], [of({ ...valid, storedAt: -1 }), fields]
  ]
  for (const [manifest, message] of cases) {
    assert.throws(() => checkManifest(manifest), { code: 'RELAY_ERR_MANIFEST', message }, JSON.stringify(manifest))
    await assert.rejects(cache.importManifest(manifest), { code: 'RELAY_ERR_MANIFEST' })
  }
  for (const text of ['', '{', '{"version":1,', 'hello', '\u0000']) assert.throws(() => parseManifest(text), { code: 'RELAY_ERR_MANIFEST', message: /not JSON/ })
  assert.equal(cache.disk.count, 0)
  fc.assert(fc.property(fc.jsonValue(), value => {
    assert.throws(() => checkManifest(value), { code: 'RELAY_ERR_MANIFEST' })
  }))
})

test('a manifest file that is broken is logged and does not keep the cache from opening', async t => {
  const path = await temporaryDirectory(t)
  await writeFile(join(path, 'cache_manifest.json'), '{"version":1,"entries":[{}]}')
  const opened = await openTestCache(t, path)
  assert.ok(opened.logs.includes('error cache_manifest.json cannot be read; files without an entry are left alone until it can, or has been removed'))
  assert.ok(await storeBytes(opened.cache, key(1), body(1)))
})

test('reconciliation beside stores, purges and reads harms none of them', async t => {
  const path = await temporaryDirectory(t)
  const before = await openTestCache(t, path)
  await fill(before.cache, 40)
  for (let n = 0; n < 40; n += 4) await unlink(fileOf(before.cache, n))
  await before.close()
  for (let n = 0; n < 10; n++) {
    const file = relativeFile(`orphan-${n}/1`, `old${n}`)
    await mkdir(join(path, 'shards', file, '..'), { recursive: true })
    await writeFile(join(path, 'shards', file), 'orphan')
  }
  const faulty = faultyFs()
  const opened = await openTestCache(t, path, { fs: faulty.fs })
  const progress = { done: false }
  const reconciled = opened.cache.reconciled.finally(() => { progress.done = true })
  for (let round = 0; !progress.done; round++) {
    const n = round % 60
    assert.ok(await storeBytes(opened.cache, key(n), body(n)))
    if (n % 3 === 0) assert.ok(opened.cache.purge(key(n)))
    else await expectBody(opened.cache, n)
  }
  const report = await reconciled
  assert.equal(report.errors, 0)
  await opened.cache.flush()
  const { bytes, files, temporary } = await filesIn(join(path, 'shards'))
  assert.equal(bytes, opened.cache.disk.indexedBytes)
  assert.equal(files.size, opened.cache.disk.count)
  assert.deepEqual(temporary, [])
  for (const { id } of Array.from(opened.cache.disk.firstOut())) {
    const n = Number(/cid-(\d+)/.exec(id)?.[1])
    await expectBody(opened.cache, n)
  }
})

test('close during reconciliation ends it early and drops nothing', async t => {
  const path = await temporaryDirectory(t)
  const before = await openTestCache(t, path)
  await fill(before.cache, 30)
  await before.close()
  const faulty = faultyFs()
  const gate = deferred<undefined>()
  faulty.decide = async (operation, file) => {
    if (operation === 'readdir' && /[0-9a-f]{2}$/.test(file)) await gate.promise
    return undefined
  }
  const opened = await openTestCache(t, path, { fs: faulty.fs })
  const closed = opened.close()
  gate.resolve(undefined)
  await closed
  const again = await openTestCache(t, path)
  assert.equal(again.restored, 30)
  assert.equal((await again.cache.reconciled).confirmed, 30)
})

test('a page of the list shows each entry once, in order, to the end', async t => {
  const { cache } = await openTestCache(t, await temporaryDirectory(t))
  for (const part of [0, 1, 10, 13, 'manifest'] as const) for (const cid of ['a', 'ab', 'b']) await storeBytes(cache, { cid, part }, bytesOf(`${cid}${part}`, 50))
  const seen: string[] = []
  let cursor: string | undefined
  do {
    const page = await cache.list({ cursor, limit: 4 })
    assert.ok(page.entries.length <= 4)
    seen.push(...page.entries.map(keyId))
    cursor = page.next
  } while (cursor !== undefined)
  assert.equal(seen.length, 15)
  assert.deepEqual(seen, seen.toSorted())
  const ofA = await cache.list({ cid: 'a', limit: 100 })
  assert.deepEqual(ofA.entries.map(keyId), ['a/0', 'a/1', 'a/10', 'a/13', 'a/manifest'])
  assert.equal(ofA.next, undefined)
  assert.equal(cache.purgeCid('a'), 5)
  assert.equal(await cache.purgeMatching(() => true), 10)
  assert.deepEqual(await cache.list({ limit: 10 }), { entries: [] })
})

test('the exported manifest is the text of the index, in order of recency', async t => {
  const path = await temporaryDirectory(t)
  const { cache } = await openTestCache(t, path)
  await fill(cache, 3)
  const manifest = JSON.parse(Array.from(cache.exportManifest()).join('')) as { version: number, entries: { cid: string, sha256: string }[] }
  assert.equal(manifest.version, 1)
  assert.deepEqual(manifest.entries.map(({ cid }) => cid), ['cid-0', 'cid-1', 'cid-2'])
  for (const [n, entry] of manifest.entries.entries()) assert.equal(entry.sha256, sha256(await readFile(fileOf(cache, n))))
})
