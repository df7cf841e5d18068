import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { readFile, readdir, rm, truncate, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import { deferred } from '../../../../src/base/deferred.ts'
import type { DiskStore } from '../../../../src/plugins/shard-cache/disk-store.ts'
import type { FileLease } from '../../../../src/plugins/shard-cache/reader-files.ts'
import { WINDOW_BYTES } from '../../../../src/plugins/shard-cache/write-window.ts'
import { keyId, type ShardKey } from '../../../../src/protocol/shard-key.ts'
import { CHUNK_BYTES } from '../../../../src/storage/disk-files.ts'
import { never, sha256, storeBytes } from '../../../../tools/harness/store-bytes.ts'
import type { FsOperation } from '../../../fakes/faulty-fs.ts'
import { bytesOf, draw, filesIn, readAll, testStore, until, type TestStore } from '../../../support/cache.ts'

const KEY: ShardKey = { cid: 'QmTest', part: 3 }
const ID = keyId(KEY)

async function openNow (store: DiskStore, id = ID): Promise<FileLease | undefined> {
  const entry = store.find(id)
  return entry === undefined ? undefined : await store.openFile(entry)
}

async function readLease (store: DiskStore, lease: FileLease): Promise<Buffer> {
  return await readAll({ size: lease.entry.size, read: async (at, length) => await store.disk.readAt(lease.handle, at, length) })
}

async function assertAtRest ({ store, root, faulty }: TestStore): Promise<void> {
  await store.flush()
  await until(() => store.openFiles === 0 && store.reservedBytes === 0)
  await store.flush()
  const { bytes, files, temporary } = await filesIn(root)
  assert.equal(bytes, store.indexedBytes, 'the directory has exactly the indexed bytes')
  assert.equal(files.size, store.count)
  assert.deepEqual(temporary, [], 'no temporary file is left')
  assert.equal(store.usedBytes, store.indexedBytes, 'nothing is reserved or condemned')
  assert.equal(faulty.openHandles, 0, 'no file is left open')
  for (const entry of store.firstOut()) assert.equal(files.get(store.fileOf(entry).slice(root.length + 1)), entry.size)
}

/** Asserts the bound; after a `resize` below what is held, that the excess only shrinks. */
class BoundWatch {
  readonly #store: DiskStore
  #allowed: number

  constructor (store: DiskStore) {
    this.#store = store
    this.#allowed = store.maxBytes
  }

  resized (): void {
    this.#allowed = Math.max(this.#store.maxBytes, this.#store.usedBytes)
  }

  check (): void {
    const { usedBytes, maxBytes } = this.#store
    assert.ok(usedBytes <= this.#allowed, `${usedBytes} bytes used, ${maxBytes} allowed`)
    this.#allowed = Math.max(maxBytes, Math.min(this.#allowed, usedBytes))
  }
}

const KEYS: readonly ShardKey[] = ['a', 'b', 'c', 'd'].flatMap(cid => [0, 13, 'manifest' as const].map(part => ({ cid, part })))
const SIZES = [0, 1, 700, 1_500, 2_900, 6_000]

function bodyOf (key: ShardKey): Buffer {
  return bytesOf(keyId(key), SIZES[KEYS.indexOf(key) % SIZES.length] ?? 1)
}

const action = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('store' as const), key: fc.constantFrom(...KEYS), pieces: fc.integer({ min: 1, max: 4 }), followed: fc.boolean() }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('read' as const), key: fc.constantFrom(...KEYS), step: fc.integer({ min: 300, max: 7_000 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('purge' as const), key: fc.constantFrom(...KEYS) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('abort' as const), key: fc.constantFrom(...KEYS) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('resize' as const), maxBytes: fc.constantFrom(3_000, 8_000, 15_000) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('turns' as const), count: fc.integer({ min: 1, max: 12 }) }) }
)
type Action = typeof action extends fc.Arbitrary<infer A> ? A : never

async function perform (store: DiskStore, step: Action, watch: BoundWatch, mayFail: boolean): Promise<void> {
  if (step.kind === 'turns') {
    for (let turn = 0; turn < step.count; turn++) await nextTurn()
  } else if (step.kind === 'resize') {
    store.resize(step.maxBytes)
    watch.resized()
  } else if (step.kind === 'purge') {
    store.purge(keyId(step.key))
    assert.equal(store.peek(keyId(step.key)), undefined)
  } else if (step.kind === 'abort') {
    const { spool } = await store.createSpool(step.key, 2_000)
    await spool.append(bytesOf('half', 1_000), never)
    await spool.close()
  } else if (step.kind === 'store') {
    const body = bodyOf(step.key)
    const { spool, commit } = await store.createSpool(step.key, body.length)
    const cuts = Array.from({ length: step.pieces }, (_, n) => Math.ceil(body.length * (n + 1) / step.pieces))
    let from = 0
    for (const cut of cuts) {
      if (cut > from) await spool.append(body.subarray(from, cut), never)
      from = cut
      watch.check()
    }
    await commit(sha256(body))
    watch.check()
    // A reader that follows the fill reads after the commit, and after whatever evicts or purges the entry meanwhile.
    if (step.followed) {
      await nextTurn()
      await expectBytes(readAll({ size: spool.length, read: async (at, length) => await spool.read(at, length) }), body, mayFail)
    }
    await spool.close()
  } else {
    const entry = store.find(keyId(step.key))
    if (entry === undefined) return
    const lease = await store.openFile(entry)
    if (lease === undefined) return assert.ok(mayFail, 'without disk errors an entry can be opened')
    const size = entry.size
    await expectBytes(readAll({ size, read: async (at, length) => await store.disk.readAt(lease.handle, at, Math.min(length, step.step)) }), bodyOf(step.key), mayFail)
    lease.release()
  }
}

async function expectBytes (reading: Promise<Buffer>, expected: Buffer, mayFail: boolean): Promise<void> {
  const bytes = await reading.catch((error: unknown) => {
    if (!mayFail) throw error
    return undefined
  })
  if (bytes !== undefined) assert.ok(bytes.equals(expected), 'a reader gets the right bytes')
}

async function interleave (t: TestContext, failing: boolean): Promise<void> {
  const codes = fc.constantFrom(undefined, undefined, undefined, undefined, undefined, undefined, 'ENOSPC', 'EIO', 'EACCES', 'EMFILE', 1, 100)
  await fc.assert(fc.asyncProperty(fc.array(action, { minLength: 5, maxLength: 40, size: 'max' }), fc.infiniteStream(codes), fc.infiniteStream(fc.nat(2)), async (steps, fates, turns) => {
    const set = await testStore(t, { maxBytes: 10_000 })
    const { store, faulty } = set
    const watch = new BoundWatch(store)
    faulty.decide = async operation => {
      watch.check()
      for (let turn = draw(turns); turn > 0; turn--) await nextTurn()
      const fate = draw(fates)
      if (!failing || operation === 'unlink') return undefined
      return typeof fate === 'number' && operation !== 'read' && operation !== 'write' ? undefined : fate
    }
    const running: Promise<void>[] = []
    for (const step of steps) {
      const done = perform(store, step, watch, failing)
      if (step.kind === 'turns') await done
      else running.push(done)
      watch.check()
    }
    await Promise.all(running)
    watch.check()
    await assertAtRest(set)
    await rm(set.root, { recursive: true })
  }), { numRuns: failing ? 60 : 40 })
}

test('readers of one object share a descriptor, which goes with the last of them; a removed one is read to its end', async t => {
  const rig = await testStore(t)
  const { store, faulty } = rig
  const body = bytesOf('shared', 3 * CHUNK_BYTES)
  assert.ok(await storeBytes(store, KEY, body))
  await until(() => store.openFiles === 0)
  const leases = await Promise.all(Array.from({ length: 50 }, async () => await openNow(store)))
  assert.deepEqual([store.openFiles, faulty.openHandles], [1, 1])
  const [first, ...others] = leases.map(lease => lease ?? assert.fail('not opened'))
  store.purge(ID)
  for (const lease of others) {
    lease.release()
    lease.release()
  }
  await nextTurn()
  assert.equal(store.openFiles, 1)
  assert.ok(first !== undefined && body.equals(await readLease(store, first)))
  first.release()
  await assertAtRest(rig)
})

test('who waits for the descriptor of another reader has it too, although the object is purged meanwhile', async t => {
  const rig = await testStore(t)
  const { store, faulty } = rig
  const body = bytesOf('purged while it is opened', 5_000)
  assert.ok(await storeBytes(store, KEY, body))
  await until(() => store.openFiles === 0)
  const gate = deferred<undefined>()
  faulty.decide = async operation => operation === 'open' ? await gate.promise : undefined
  const both = [openNow(store), openNow(store)]
  store.purge(ID)
  gate.resolve(undefined)
  for (const opening of both) {
    const lease = await opening
    assert.ok(lease !== undefined && body.equals(await readLease(store, lease)))
    lease.release()
  }
  await assertAtRest(rig)
})

test('any interleaving of stores, reads, purges, resizes and aborts keeps the bound, gives readers the right bytes and leaves what the index says', async t => {
  await interleave(t, false)
})

test('the same while the disk fails at random and cuts reads and writes short: errors cost hits and stores, never bytes or the bound', async t => {
  await interleave(t, true)
})

test('a reader keeps its bytes when the entry is purged, evicted, replaced or resized away', async t => {
  const ends: Record<string, (set: TestStore) => Promise<unknown> | void> = {
    purged: ({ store }) => { store.purge(ID) },
    replaced: async ({ store }) => await storeBytes(store, KEY, bytesOf('new', 9_000)),
    resized: ({ store }) => { store.resize(0) },
    crowded: async ({ store }) => {
      for (let part = 0; part < 3; part++) await storeBytes(store, { cid: 'other', part }, bytesOf('other', 400_000))
    }
  }
  for (const [name, end] of Object.entries(ends)) {
    const set = await testStore(t)
    const body = bytesOf('old', 300_000)
    assert.ok(await storeBytes(set.store, KEY, body))
    const lease = await openNow(set.store)
    assert.ok(lease)
    await end(set)
    assert.ok((await readLease(set.store, lease)).equals(body), name)
    lease.release()
    lease.release()
    await assertAtRest(set)
  }
})

test('a store replaced by a second one counts once and leaves one file', async t => {
  const set = await testStore(t)
  await Promise.all([storeBytes(set.store, KEY, bytesOf('x', 5_000)), storeBytes(set.store, KEY, bytesOf('x', 5_000))])
  assert.equal(set.store.indexedBytes, 5_000)
  await assertAtRest(set)
})

test('a body purged before, during or after its commit is not stored when forbidden', async t => {
  for (const moment of ['create', 'datasync', 'rename', 'unlink'] as const) {
    const set = await testStore(t)
    const { spool, commit, forbidStore } = await set.store.createSpool(KEY, 1_000)
    await spool.append(bytesOf('x', 1_000), never)
    set.faulty.decide = operation => {
      if (operation === moment) forbidStore()
      return undefined
    }
    if (moment === 'create') forbidStore()
    const stored = await commit(sha256(bytesOf('x', 1_000)))
    assert.equal(stored, moment === 'unlink')
    await spool.close()
    assert.equal(set.store.count, stored ? 1 : 0)
    await assertAtRest(set)
  }
})

test('blocks of a body that is purged while they are being kept are not kept', async t => {
  for (const moment of ['datasync', 'rename', 'create', 'write'] as const) {
    const set = await testStore(t)
    const body = bytesOf('x', 1_000)
    const { spool, keep, forbidStore } = await set.store.createBlockSpool(KEY, { size: body.length, sha256: sha256(body), blockSize: 100 })
    await spool.put(0, [body.subarray(0, 100)], await spool.place(never), never)
    await spool.flush()
    set.faulty.decide = operation => {
      if (operation === moment) {
        forbidStore()
        set.store.purge(ID)
      }
      return undefined
    }
    assert.equal(await keep(), false, moment)
    await spool.close()
    assert.equal(set.store.partials.count, 0, moment)
    await set.store.flush()
    assert.deepEqual(await readdir(join(set.root, 'partial')), [])
    await assertAtRest(set)
  }
})

const REFUSALS: [FsOperation, string, { stored: boolean, error: string }][] = [
  ['create', 'ENOSPC', { stored: false, error: 'open ENOSPC' }],
  ['create', 'EMFILE', { stored: false, error: 'open EMFILE' }],
  ['create', 'EACCES', { stored: false, error: 'open EACCES' }],
  ['write', 'ENOSPC', { stored: false, error: 'write ENOSPC' }],
  ['write', 'EIO', { stored: false, error: 'write EIO' }],
  ['datasync', 'EIO', { stored: false, error: 'fsync EIO' }],
  ['datasync', 'ENOSPC', { stored: false, error: 'fsync ENOSPC' }],
  ['rename', 'EACCES', { stored: false, error: 'rename EACCES' }],
  ['rename', 'EIO', { stored: false, error: 'rename EIO' }],
  ['mkdir', 'ENOSPC', { stored: false, error: 'rename ENOSPC' }]
]

test('a disk that refuses turns a store into a pass-through, reported, and its readers get every byte', async t => {
  for (const [operation, code, expected] of REFUSALS) {
    const set = await testStore(t)
    const { store, faulty, observer } = set
    const body = bytesOf('body', 3 * CHUNK_BYTES + 17)
    faulty.decide = name => name === operation ? code : undefined
    const { spool, commit } = await store.createSpool(KEY, body.length)
    for (let at = 0; at < body.length; at += 100_000) await spool.append(body.subarray(at, at + 100_000), never)
    assert.equal(spool.length, body.length)
    assert.equal(await commit(sha256(body)), expected.stored, `${operation} ${code}`)
    assert.ok((await readAll({ size: body.length, read: async (at, length) => await spool.read(at, length) })).equals(body), `${operation} ${code}`)
    await spool.close()
    assert.deepEqual(observer.errors, [expected.error])
    assert.deepEqual(observer.bypassed, ['disk-error'])
    assert.equal(store.find(ID), undefined)
    assert.equal(store.passThrough.usedBytes, 0)
    faulty.decide = () => undefined
    await assertAtRest(set)
    assert.ok(await storeBytes(store, KEY, body), 'a disk that recovers is used again')
    await assertAtRest(set)
  }
})

test('what comes while the disk writes is readable immediately, goes to the disk in one piece, and is bounded', async t => {
  const set = await testStore(t, { maxBytes: 4_000_000 })
  const body = bytesOf('body', 2_000_000)
  const gate = deferred<undefined>()
  set.faulty.decide = async operation => {
    if (operation === 'write') await gate.promise
    return undefined
  }
  const { spool, commit, path } = await set.store.createSpool(KEY, body.length)
  const filling = (async () => { for (let at = 0; at < body.length; at += 100_000) await spool.append(body.subarray(at, at + 100_000), never) })()
  for (let turn = 0; turn < 20; turn++) await nextTurn()
  assert.equal(spool.length, 500_000, 'as many chunks as fit into a window')
  assert.ok(spool.windowBytes <= WINDOW_BYTES)
  assert.equal(spool.written, 0)
  assert.ok((await readAll({ size: spool.length, read: async (at, length) => await spool.read(at, length) })).equals(body.subarray(0, spool.length)))
  assert.equal(set.faulty.counts.get('write'), 1)
  gate.resolve(undefined)
  await filling
  assert.ok(await commit(sha256(body)))
  assert.equal(spool.written, body.length)
  assert.ok((set.faulty.counts.get('write') ?? 0) < 20, 'fewer writes than chunks')
  assert.deepEqual(await readFile(path() ?? ''), body)
  await spool.close()
  assert.equal(spool.windowBytes, 0)
  await assertAtRest(set)
})

test('a body that is let go while the disk writes frees everything when the write has ended', async t => {
  const set = await testStore(t)
  const gate = deferred<undefined>()
  set.faulty.decide = async operation => {
    if (operation === 'write') await gate.promise
    return undefined
  }
  const { spool } = await set.store.createSpool(KEY, 1_000)
  for (let at = 0; at < 1_000; at += 100) await spool.append(bytesOf('x', 100), never)
  let closed = false
  const closing = spool.close().then(() => { closed = true })
  for (let turn = 0; turn < 5; turn++) await nextTurn()
  assert.equal(closed, false)
  gate.resolve(undefined)
  await closing
  assert.equal(set.faulty.counts.get('write'), 1, 'what nobody wants is not written')
  await assertAtRest(set)
})

test('a disk that fills up in the middle of a body moves exactly the rest to memory', async t => {
  const set = await testStore(t)
  const body = bytesOf('body', 1_000_000)
  let writes = 0
  set.faulty.decide = operation => {
    if (operation !== 'write') return undefined
    writes++
    return writes === 3 ? 1_234 : writes === 4 ? 'ENOSPC' : undefined
  }
  const { spool, commit } = await set.store.createSpool(KEY, body.length)
  const add = async (at: number): Promise<void> => {
    await spool.append(body.subarray(at, at + 100_000), never)
    assert.equal(spool.length, at + 100_000)
  }
  for (let at = 0; at < 200_000; at += 100_000) {
    await add(at)
    await spool.flush()
  }
  assert.equal(spool.written, 200_000)
  for (let at = 200_000; at < body.length; at += 100_000) await add(at)
  assert.equal(writes, 4, 'after the failure the disk is left alone')
  assert.equal(set.store.passThrough.usedBytes, 800_000, 'memory is claimed for what the disk does not have')
  assert.ok((await readAll({ size: body.length, read: async (at, length) => await spool.read(at, length) })).equals(body))
  assert.equal(await commit(sha256(body)), false)
  await spool.close()
  await assertAtRest(set)
})

test('a body for which there is no room passes through memory, and waits its turn when that is used up', async t => {
  const set = await testStore(t, { maxBytes: 1_000, passThroughBytes: 5_000 })
  const body = bytesOf('big', 4_000)
  const first = await set.store.createSpool(KEY, body.length)
  const second = await set.store.createSpool({ cid: 'other', part: 0 }, body.length)
  await first.spool.append(body, never)
  const waiting = second.spool.append(body, never)
  await nextTurn()
  assert.equal(second.spool.length, 0)
  assert.equal(await first.commit(sha256(body)), false)
  await first.spool.close()
  await waiting
  assert.ok((await readAll({ size: body.length, read: async (at, length) => await second.spool.read(at, length) })).equals(body))
  await second.spool.close()
  assert.deepEqual(set.observer.bypassed, ['no-room', 'no-room'])
  await assertAtRest(set)
})

test('a body that gets no memory before its time is up fails with FILLS_BUSY', async t => {
  const { store } = await testStore(t, { maxBytes: 10, passThroughBytes: 1_000 })
  const tooBig = await store.createSpool(KEY, 1_001)
  await assert.rejects(tooBig.spool.append(Buffer.alloc(10), never), { code: 'RELAY_ERR_FILLS_BUSY' })
  await tooBig.spool.close()
  const holder = await store.createSpool(KEY, 1_000)
  await holder.spool.append(Buffer.alloc(10), never)
  const abort = new AbortController()
  const waiter = await store.createSpool(KEY, 1_000)
  const appended = waiter.spool.append(Buffer.alloc(10), abort.signal)
  abort.abort()
  await assert.rejects(appended, { code: 'RELAY_ERR_FILLS_BUSY' })
  await waiter.spool.close()
  await holder.spool.close()
  assert.equal(store.passThrough.usedBytes, 0)
})

test('a private pass-through does not touch disk, index or room', async t => {
  const set = await testStore(t)
  const { spool, commit } = await set.store.createSpool(KEY, 1_000, false)
  await spool.append(bytesOf('x', 1_000), never)
  assert.equal(set.store.usedBytes, 0)
  assert.equal(await commit(sha256(bytesOf('x', 1_000))), false)
  await spool.close()
  assert.equal(set.faulty.counts.size, 0)
  assert.deepEqual(set.observer.bypassed, [])
})

test('a file that vanished, shrank, grew or cannot be opened makes a hit a miss, drops the entry and is reported', async t => {
  const damages: Record<string, [damage: (file: string, set: TestStore) => Promise<void> | void, error: string]> = {
    vanished: [async file => { await unlink(file) }, 'open ENOENT'],
    shrunk: [async file => { await truncate(file, 999) }, 'open SIZE_MISMATCH'],
    grown: [async file => { await truncate(file, 1_001) }, 'open SIZE_MISMATCH'],
    forbidden: [(_file, { faulty }) => { faulty.decide = operation => operation === 'open' ? 'EACCES' : undefined }, 'open EACCES'],
    broken: [(_file, { faulty }) => { faulty.decide = operation => operation === 'open' ? 'EIO' : undefined }, 'open EIO'],
    unreadable: [(_file, { faulty }) => { faulty.decide = operation => operation === 'fstat' ? 'EIO' : undefined }, 'open SIZE_MISMATCH']
  }
  for (const [name, [damage, error]] of Object.entries(damages)) {
    const set = await testStore(t)
    await storeBytes(set.store, KEY, bytesOf('x', 1_000))
    const entry = set.store.peek(ID)
    assert.ok(entry)
    await damage(set.store.fileOf(entry), set)
    assert.equal(await openNow(set.store), undefined, name)
    assert.equal(set.store.peek(ID), undefined, name)
    assert.deepEqual(set.observer.errors, [error], name)
    set.faulty.decide = () => undefined
    await assertAtRest(set)
    assert.deepEqual(set.observer.removals, ['disk invalid'])
    assert.equal(set.db.get(ID), undefined)
  }
})

test('a process out of file descriptors misses and keeps its entries', async t => {
  for (const code of ['EMFILE', 'ENFILE']) {
    const set = await testStore(t)
    await storeBytes(set.store, KEY, bytesOf('x', 1_000))
    set.faulty.decide = operation => operation === 'open' ? code : undefined
    assert.equal(await openNow(set.store), undefined)
    set.faulty.decide = () => undefined
    const lease = await openNow(set.store)
    assert.ok(lease)
    lease.release()
    await assertAtRest(set)
  }
})

test('a file that cannot be unlinked is reported and costs nothing else', async t => {
  const set = await testStore(t)
  await storeBytes(set.store, KEY, bytesOf('x', 1_000))
  set.faulty.decide = operation => operation === 'unlink' ? 'EACCES' : undefined
  assert.equal(set.store.purge(ID), true)
  await set.store.flush()
  assert.equal(set.store.usedBytes, 0)
  assert.deepEqual(set.observer.errors, ['unlink EACCES'])
  assert.equal((await filesIn(set.root)).files.size, 1, 'the next reconciliation finds it')
})

test('a purge of everything unlinks a few files at a time, and flush waits for the last', async t => {
  const set = await testStore(t)
  for (let n = 0; n < 60; n++) await storeBytes(set.store, { cid: `c${n}`, part: 0 }, bytesOf('x', 10))
  set.faulty.decide = async () => { await nextTurn(); return undefined }
  for (const { id } of Array.from(set.store.firstOut())) set.store.purge(id)
  await assertAtRest(set)
  assert.ok((set.faulty.peaks.get('unlink') ?? 0) <= 4, `${set.faulty.peaks.get('unlink')} at the same time: viewers' reads queue behind them`)
})

test('the order of recency survives equal clock readings and a clock set back', async t => {
  const { store, clock, db } = await testStore(t)
  for (let n = 0; n < 5; n++) await storeBytes(store, { cid: `c${n}`, part: 0 }, bytesOf('x', 10))
  clock.advance(-86_400_000)
  for (const n of [3, 0, 4, 1, 2]) store.find(`c${n}/0`)
  await store.flush()
  const order = Array.from(db.load()).sort(([, a], [, b]) => a.lastAccess - b.lastAccess).map(([id]) => id)
  assert.deepEqual(order, ['c3/0', 'c0/0', 'c4/0', 'c1/0', 'c2/0'])
  assert.deepEqual(Array.from(store.firstOut(), ({ id }) => id), order)
})

test('a body is in the index only when its file is in place and on disk', async t => {
  const set = await testStore(t)
  const { spool, commit } = await set.store.createSpool(KEY, 1_000)
  await spool.append(bytesOf('x', 1_000), never)
  const order: FsOperation[] = []
  const gate = deferred<undefined>()
  set.faulty.decide = async operation => {
    order.push(operation)
    assert.equal(set.store.peek(ID), undefined)
    if (operation === 'rename') await gate.promise
    return undefined
  }
  const committed = commit(sha256(bytesOf('x', 1_000)))
  await until(() => order.includes('rename'))
  assert.equal(set.store.find(ID), undefined)
  gate.resolve(undefined)
  assert.ok(await committed)
  assert.deepEqual(order.slice(0, 2), ['datasync', 'rename'])
  assert.ok(set.store.find(ID))
  await spool.close()
  await assertAtRest(set)
})

test('an empty body is stored and found', async t => {
  const set = await testStore(t)
  assert.ok(await storeBytes(set.store, KEY, Buffer.alloc(0)))
  const lease = await openNow(set.store)
  assert.equal(lease?.entry.size, 0)
  lease?.release()
  await assertAtRest(set)
})

test('strangers in the directory are not touched by the store', async t => {
  const { store, root } = await testStore(t)
  await writeFile(join(root, 'README'), 'hello')
  await storeBytes(store, KEY, bytesOf('x', 10))
  store.purge(ID)
  await store.flush()
  assert.ok((await readdir(root)).includes('README'))
})
