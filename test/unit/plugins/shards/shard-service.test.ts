import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import type { ShardCache } from '../../../../src/plugins/shard-cache/shard-cache.ts'
import { deferred } from '../../../../src/base/deferred.ts'
import { RelayError } from '../../../../src/base/errors.ts'
import type { Origin } from '../../../../src/protocol/answer.ts'
import type { OpenShard } from '../../../../src/plugins/shards/open-shard.ts'
import { ShardService, type ShardServiceOptions } from '../../../../src/plugins/shards/shard-service.ts'
import { keyId, type ShardKey } from '../../../../src/protocol/shard-key.ts'
import { sha256, storeBytes } from '../../../../tools/harness/store-bytes.ts'
import { faultyFs, type FaultyFs } from '../../../fakes/faulty-fs.ts'
import { ScriptedUpstream, type ScriptedFetch } from '../../../fakes/upstream.ts'
import { assertNothingHeld, bytesOf, draw, openTestCache, readAll, until, type RecordingObserver } from '../../../support/cache.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'

const KEY: ShardKey = { cid: 'service', part: 4 }
const BODY = bytesOf('service', 20_000)
const DIGEST = sha256(BODY)

interface Setup {
  readonly service: ShardService
  readonly upstream: ScriptedUpstream
  readonly cache: ShardCache
  readonly faulty: FaultyFs
  readonly observer: RecordingObserver
  readonly opened: Origin[]
  readonly failed: RelayError[]
  readonly root: string
}

async function setUp (t: TestContext, options: Partial<ShardServiceOptions> & { maxBytes?: number, passThroughBytes?: number, ramBytes?: number } = {}): Promise<Setup> {
  const { maxBytes = 10_000_000, passThroughBytes = 1_000_000, ramBytes = 0, ...rest } = options
  const path = await temporaryDirectory(t)
  const faulty = faultyFs()
  const { cache, observer } = await openTestCache(t, path, { fs: faulty.fs, maxBytes, passThroughBytes, ramBytes })
  const upstream = new ScriptedUpstream()
  const opened: Origin[] = []
  const failed: RelayError[] = []
  const service = new ShardService({
    cache,
    upstream,
    observer: { opened: origin => { opened.push(origin) }, openFailed: error => { failed.push(error) } },
    maxObjectBytes: 1_000_000,
    maxManifestBytes: 1_000,
    maxFills: 100,
    fillTimeoutMs: 60_000,
    ...rest
  })
  await cache.reconciled
  faulty.counts.clear()
  return { service, upstream, cache, faulty, observer, opened, failed, root: join(path, 'shards') }
}

/** Sends a whole body in pieces. */
async function deliver (fetch: ScriptedFetch, body = BODY, pieces = 4): Promise<void> {
  fetch.answer({ size: body.length, sha256: sha256(body) })
  const step = Math.ceil(body.length / pieces)
  for (let at = 0; at < body.length; at += step) await fetch.send(body.subarray(at, at + step))
  fetch.end()
}

async function readToEnd (shard: OpenShard): Promise<Buffer> {
  try {
    return await readAll(shard)
  } finally {
    shard.release()
  }
}

async function nextFetch (upstream: ScriptedUpstream, count = 1): Promise<ScriptedFetch> {
  await until(() => upstream.fetches.length >= count)
  const fetch = upstream.fetches[count - 1]
  assert.ok(fetch)
  return fetch
}

async function assertAtRest ({ cache, faulty, root, service }: Setup): Promise<void> {
  await until(() => service.fills === 0 && cache.disk.openFiles === 0)
  await cache.flush()
  await assertNothingHeld({ store: cache.disk, root, faulty })
}

test('many readers of one missing object cause one fetch, and every one gets every byte', async t => {
  const set = await setUp(t)
  const shards = Array.from({ length: 100 }, async () => await set.service.open(KEY))
  const fetch = await nextFetch(set.upstream)
  const delivered = deliver(fetch)
  const opened = await Promise.all(shards)
  assert.equal(opened.filter(({ origin }) => !origin.hit && !origin.collapsed).length, 1)
  assert.equal(opened.filter(({ origin }) => !origin.hit && origin.collapsed).length, 99)
  for (const bytes of await Promise.all(opened.map(readToEnd))) assert.ok(bytes.equals(BODY))
  await delivered
  await until(() => set.service.fills === 0)
  const hit = await set.service.open(KEY)
  assert.ok(hit.origin.hit && hit.origin.tier === 'disk')
  assert.equal(hit.sha256, DIGEST)
  assert.ok((await readToEnd(hit)).equals(BODY))
  assert.equal(set.upstream.fetches.length, 1)
  assert.equal(set.opened.length, 101)
  await assertAtRest(set)
})

test('an object that arrives between two looks at the cache is not fetched twice', async t => {
  for (let delay = 0; delay < 12; delay++) {
    const set = await setUp(t)
    const first = set.service.open(KEY)
    const fetch = await nextFetch(set.upstream)
    await deliver(fetch)
    // Each delay puts the second viewer at another point of verify, fsync, rename and commit.
    for (let turn = 0; turn < delay; turn++) await nextTurn()
    const second = set.service.open(KEY)
    assert.ok((await readToEnd(await first)).equals(BODY))
    assert.ok((await readToEnd(await second)).equals(BODY))
    assert.equal(set.upstream.fetches.length, 1, `after ${delay} turns`)
    await assertAtRest(set)
  }
})

test('a fill that ends while the cache is asked does not cause a second fetch', async t => {
  const set = await setUp(t)
  await storeBytes(set.cache, KEY, BODY)
  const entry = set.cache.disk.peek(keyId(KEY))
  assert.ok(entry)
  await unlink(set.cache.disk.fileOf(entry))
  const gate = deferred<undefined>()
  let held = true
  set.faulty.decide = async operation => {
    if (operation === 'open' && held) {
      held = false
      await gate.promise
    }
    return undefined
  }
  // This one is told of a vanished file only after another has filled the key anew.
  const late = set.service.open(KEY)
  set.cache.disk.purge(keyId(KEY))
  const first = set.service.open(KEY)
  await deliver(await nextFetch(set.upstream))
  await readToEnd(await first)
  await until(() => set.service.fills === 0)
  gate.resolve(undefined)
  assert.ok((await readToEnd(await late)).equals(BODY))
  assert.equal(set.upstream.fetches.length, 1)
  await assertAtRest(set)
})

test('viewers that leave, all of them, do not cancel the fill', async t => {
  const set = await setUp(t)
  const opens = [set.service.open(KEY), set.service.open(KEY)]
  const fetch = await nextFetch(set.upstream)
  fetch.answer({ size: BODY.length, sha256: DIGEST })
  for (const shard of await Promise.all(opens)) {
    shard.release()
    shard.release()
  }
  assert.equal(fetch.signal.aborted, false)
  await fetch.send(BODY)
  fetch.end()
  await until(() => set.service.fills === 0)
  assert.ok((await readToEnd(await set.service.open(KEY))).equals(BODY))
  assert.equal(set.upstream.fetches.length, 1)
  await assertAtRest(set)
})

test('a failed fill fails everyone who waits, counts once each, and the next viewer asks again', async t => {
  const set = await setUp(t)
  const opens = Array.from({ length: 3 }, async () => await set.service.open(KEY))
  const rejected = Promise.all(opens.map(async open => { await assert.rejects(open, { code: 'RELAY_ERR_SHARD_NOT_FOUND' }) }))
  const fetch = await nextFetch(set.upstream)
  fetch.refuse(new RelayError('RELAY_ERR_SHARD_NOT_FOUND', 'nowhere'))
  await rejected
  assert.deepEqual(set.failed.map(({ code }) => code), Array.from({ length: 3 }, () => 'RELAY_ERR_SHARD_NOT_FOUND'))
  const again = set.service.open(KEY)
  await deliver(await nextFetch(set.upstream, 2))
  assert.ok((await readToEnd(await again)).equals(BODY))
  await assertAtRest(set)
})

test('a corrupt body ends no viewer, stores nothing, and the next viewer asks again', async t => {
  const set = await setUp(t)
  const open = set.service.open(KEY)
  const fetch = await nextFetch(set.upstream)
  fetch.answer({ size: BODY.length, sha256: '0'.repeat(64) })
  const shard = await open
  const reading = assert.rejects(readToEnd(shard), { code: 'RELAY_ERR_UPSTREAM_CORRUPT' })
  await fetch.send(BODY)
  fetch.end()
  await reading
  await until(() => set.service.fills === 0)
  assert.equal(set.cache.has(KEY), false)
  const again = set.service.open(KEY)
  await deliver(await nextFetch(set.upstream, 2))
  assert.ok((await readToEnd(await again)).equals(BODY))
  await assertAtRest(set)
})

test('a manifest has a cap of its own', async t => {
  const set = await setUp(t)
  const open = set.service.open({ cid: 'service', part: 'manifest' })
  const rejected = assert.rejects(open, { code: 'RELAY_ERR_UPSTREAM_TOO_LARGE' })
  const fetch = await nextFetch(set.upstream)
  fetch.answer({ size: 1_001 })
  await rejected
  await assertAtRest(set)
})

test('a purge during a fill: those who wait are served, nothing is stored, who comes later is served anew', async t => {
  const set = await setUp(t)
  const before = set.service.open(KEY)
  const fetch = await nextFetch(set.upstream)
  fetch.answer({ size: BODY.length, sha256: DIGEST })
  await fetch.send(BODY.subarray(0, 5_000))
  const waiting = await before
  set.service.forbidStore(id => id === keyId(KEY))
  set.cache.purge(KEY)
  const renewed = bytesOf('renewed', 3_000)
  const after = set.service.open(KEY)
  const second = await nextFetch(set.upstream, 2)
  await deliver(second, renewed)
  assert.ok((await readToEnd(await after)).equals(renewed))
  await until(() => set.service.fills === 1)
  await fetch.send(BODY.subarray(5_000))
  fetch.end()
  assert.ok((await readToEnd(waiting)).equals(BODY))
  await until(() => set.service.fills === 0)
  assert.equal(set.cache.details(KEY)?.sha256, sha256(renewed))
  await assertAtRest(set)
})

test('a purge of another key does not concern a fill', async t => {
  const set = await setUp(t)
  const open = set.service.open(KEY)
  const fetch = await nextFetch(set.upstream)
  set.service.forbidStore(id => id.startsWith('other/'))
  await deliver(fetch)
  await readToEnd(await open)
  await until(() => set.service.fills === 0)
  assert.equal(set.cache.has(KEY), true)
})

test('fills above the limit are refused, joining one in flight and hits are not', async t => {
  const set = await setUp(t, { maxFills: 3 })
  await storeBytes(set.cache, { cid: 'cached', part: 0 }, BODY)
  const opens = [0, 1, 2].map(async part => await set.service.open({ cid: 'new', part }))
  await until(() => set.upstream.fetches.length === 3)
  await assert.rejects(set.service.open({ cid: 'new', part: 3 }), { code: 'RELAY_ERR_FILLS_BUSY' })
  opens.push(set.service.open({ cid: 'new', part: 1 }))
  assert.ok((await readToEnd(await set.service.open({ cid: 'cached', part: 0 }))).equals(BODY))
  for (const fetch of set.upstream.fetches) await deliver(fetch)
  for (const open of opens) assert.ok((await readToEnd(await open)).equals(BODY))
  await until(() => set.service.fills === 0)
  const now = set.service.open({ cid: 'new', part: 3 })
  await deliver(await nextFetch(set.upstream, 4))
  await readToEnd(await now)
  await assertAtRest(set)
})

test('close ends every fill and every viewer of one, waits for them to let go, and refuses new ones; hits go on', async t => {
  const set = await setUp(t)
  await storeBytes(set.cache, { cid: 'cached', part: 0 }, BODY)
  const silent = set.service.open({ cid: 'silent', part: 0 })
  const silentEnds = assert.rejects(silent, { code: 'RELAY_ERR_STOPPING' })
  const open = set.service.open(KEY)
  const fetch = await nextFetch(set.upstream, 2)
  fetch.answer({ size: BODY.length, sha256: DIGEST })
  const shard = await open
  await fetch.send(BODY.subarray(0, 100))
  const reading = assert.rejects(readToEnd(shard), { code: 'RELAY_ERR_STOPPING' })
  await set.service.close()
  assert.equal(set.service.fills, 0)
  assert.ok(set.upstream.fetches.every(({ signal }) => signal.aborted))
  await reading
  await silentEnds
  await set.service.close()
  await assert.rejects(set.service.open(KEY), { code: 'RELAY_ERR_STOPPING' })
  assert.ok((await readToEnd(await set.service.open({ cid: 'cached', part: 0 }))).equals(BODY))
  await assertAtRest(set)
})

test('a fill that exceeds its deadline fails with a timeout, stalled origin or not', async t => {
  const set = await setUp(t, { fillTimeoutMs: 20 })
  await assert.rejects(set.service.open(KEY), { code: 'RELAY_ERR_UPSTREAM_TIMEOUT' })
  const open = set.service.open(KEY)
  const fetch = await nextFetch(set.upstream, 2)
  fetch.answer({ size: BODY.length })
  await assert.rejects(readToEnd(await open), { code: 'RELAY_ERR_UPSTREAM_TIMEOUT' })
  await assertAtRest(set)
})

test('fills leave nothing on a signal that outlives them', async t => {
  const set = await setUp(t)
  const small = bytesOf('small', 10)
  set.upstream.onFetch = fetch => { void deliver(fetch, small, 1) }
  for (let n = 0; n < 20; n++) await readToEnd(await set.service.open({ cid: `c${n}`, part: 0 }))
  await until(() => set.service.fills === 0)
  assert.equal(new Set(set.upstream.fetches.map(({ signal }) => signal)).size, 20)
  await set.service.close()
  assert.ok(set.upstream.fetches.every(({ signal }) => !signal.aborted), 'a fill that is over hears nothing of the stop')
})

test('a disk that fails during the fill: viewers are served through bounded memory, the next one fetches again', async t => {
  const set = await setUp(t)
  set.faulty.decide = operation => operation !== 'write' ? undefined : (set.faulty.counts.get('write') ?? 0) > 2 ? 'ENOSPC' : 1_000
  const opens = Array.from({ length: 4 }, async () => await set.service.open(KEY))
  await deliver(await nextFetch(set.upstream))
  for (const open of opens) assert.ok((await readToEnd(await open)).equals(BODY))
  // The disk is written to behind the viewers' backs.
  await until(() => set.service.fills === 0)
  assert.deepEqual(set.observer.bypassed, ['disk-error'])
  await assertAtRest(set)
  set.faulty.decide = () => undefined
  const again = set.service.open(KEY)
  await deliver(await nextFetch(set.upstream, 2))
  assert.ok((await readToEnd(await again)).equals(BODY))
  await until(() => set.service.fills === 0)
  assert.equal(set.cache.has(KEY), true)
})

test('without room on disk, memory for bodies in passing stays within its bound and all are served', async t => {
  const set = await setUp(t, { maxBytes: 1_000, passThroughBytes: 50_000 })
  let most = 0
  set.upstream.onFetch = fetch => { void deliver(fetch, bytesOf(keyId(fetch.key), 20_000)) }
  const keys = Array.from({ length: 14 }, (_, part) => ({ cid: 'crowd', part }))
  await Promise.all(keys.map(async key => {
    const shard = await set.service.open(key)
    await nextTurn()
    most = Math.max(most, set.cache.disk.passThrough.usedBytes)
    assert.ok((await readToEnd(shard)).equals(bytesOf(keyId(key), 20_000)))
  }))
  assert.ok(most > 0 && most <= 50_000, `${most}`)
  assert.equal(set.cache.disk.count, 0)
  await assertAtRest(set)
})

test('a disk read error in the middle of a hit goes on from the super-node with the right bytes', async t => {
  for (const code of ['EIO', 'EACCES']) {
    const set = await setUp(t)
    const body = bytesOf('large', 700_000)
    await storeBytes(set.cache, KEY, body)
    const shard = await set.service.open(KEY)
    const first = await shard.read(0, 200_000)
    set.faulty.decide = operation => operation === 'read' ? code : undefined
    const rest = readAll({ size: body.length - first.length, read: async (at, length) => await shard.read(first.length + at, length) })
    const fetch = await nextFetch(set.upstream)
    await deliver(fetch, body)
    assert.ok(Buffer.concat([first, await rest]).equals(body))
    shard.release()
    assert.equal(set.cache.has(KEY), false, 'the damaged entry is gone')
    assert.equal(set.upstream.fetches.length, 1)
    await assertAtRest(set)
  }
})

test('a disk read error while following a fill goes on from the super-node too', async t => {
  const set = await setUp(t)
  // More than a fill keeps in memory.
  const body = bytesOf('large', 900_000)
  const open = set.service.open(KEY)
  await deliver(await nextFetch(set.upstream), body, 9)
  const shard = await open
  set.faulty.decide = operation => operation === 'read' ? 'EIO' : undefined
  const reading = readToEnd(shard)
  await deliver(await nextFetch(set.upstream, 2), body, 9)
  assert.ok((await reading).equals(body))
  await assertAtRest(set)
})

test('what a super-node sends in place of a damaged file must be the same object', async t => {
  for (const [size, digest] of [[BODY.length + 1, undefined], [BODY.length, '1'.repeat(64)]] as const) {
    const set = await setUp(t)
    await storeBytes(set.cache, KEY, BODY)
    const shard = await set.service.open(KEY)
    set.faulty.decide = operation => operation === 'read' ? 'EIO' : undefined
    const reading = assert.rejects(readToEnd(shard), { code: 'RELAY_ERR_CACHE_READ' })
    const fetch = await nextFetch(set.upstream)
    fetch.answer({ size, sha256: digest })
    await reading
    fetch.breakOff()
    await assertAtRest(set)
  }
})

test('when the super-nodes fail as well, a broken hit ends with their error', async t => {
  const set = await setUp(t)
  await storeBytes(set.cache, KEY, BODY)
  const shard = await set.service.open(KEY)
  set.faulty.decide = operation => operation === 'read' ? 'EIO' : undefined
  const reading = assert.rejects(readToEnd(shard), { code: 'RELAY_ERR_UPSTREAM_UNREACHABLE' })
  const fetch = await nextFetch(set.upstream)
  fetch.refuse(new RelayError('RELAY_ERR_UPSTREAM_UNREACHABLE', 'gone'))
  await reading
  await assertAtRest(set)
})

test('a viewer who leaves while its hit is being replaced leaves nothing open', async t => {
  const set = await setUp(t)
  await storeBytes(set.cache, KEY, BODY)
  const shard = await set.service.open(KEY)
  set.faulty.decide = operation => operation === 'read' ? 'EIO' : undefined
  const reading = assert.rejects(shard.read(0, 100), { code: 'RELAY_ERR_CACHE_READ' })
  const fetch = await nextFetch(set.upstream)
  shard.release()
  await deliver(fetch)
  await reading
  await assertAtRest(set)
})

test('an entry whose file vanished is fetched again and stored', async t => {
  const set = await setUp(t)
  await storeBytes(set.cache, KEY, BODY)
  const entry = set.cache.disk.peek(keyId(KEY))
  assert.ok(entry)
  await unlink(set.cache.disk.fileOf(entry))
  const open = set.service.open(KEY)
  await deliver(await nextFetch(set.upstream))
  const shard = await open
  assert.equal(shard.origin.hit, false)
  assert.ok((await readToEnd(shard)).equals(BODY))
  await until(() => set.service.fills === 0)
  assert.equal(set.cache.has(KEY), true)
  await assertAtRest(set)
})

test('out of file descriptors: the viewer is served by a super-node, the entry stays', async t => {
  const set = await setUp(t)
  await storeBytes(set.cache, KEY, BODY)
  set.faulty.decide = operation => operation === 'open' || operation === 'create' ? 'EMFILE' : undefined
  const open = set.service.open(KEY)
  await deliver(await nextFetch(set.upstream))
  assert.ok((await readToEnd(await open)).equals(BODY))
  assert.equal(set.cache.has(KEY), true)
  await assertAtRest(set)
})

test('any mix of viewers, purges, evictions and failures of disk and origin: who ends gets exactly the bytes', async t => {
  const KEYS: ShardKey[] = [0, 1, 2, 3].map(part => ({ cid: 'mix', part }))
  const sizeOf = (part: ShardKey['part']): number => [1, 2_500, 6_000, 9_000][Number(part)] ?? 1
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('view' as const), key: fc.constantFrom(...KEYS), step: fc.integer({ min: 100, max: 9_000 }), pause: fc.nat(2), leaves: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('purge' as const), key: fc.constantFrom(...KEYS) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('turns' as const), count: fc.integer({ min: 1, max: 20 }) }) }
  )
  const fates = fc.constantFrom(undefined, undefined, undefined, undefined, undefined, undefined, undefined, 'EIO', 'ENOSPC', 700)
  const answers = fc.constantFrom('good' as const, 'good' as const, 'good' as const, 'unannounced' as const, 'corrupt' as const, 'short' as const, 'broken' as const, 'refused' as const)
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 30, size: 'max' }), fc.infiniteStream(fates), fc.infiniteStream(answers), async (steps, disk, origin) => {
    const set = await setUp(t, { maxBytes: 14_000, passThroughBytes: 30_000, ramBytes: 50_000 })
    set.faulty.decide = operation => {
      const fate = draw(disk)
      return operation === 'unlink' || (typeof fate === 'number' && operation !== 'read' && operation !== 'write') ? undefined : fate
    }
    set.upstream.onFetch = fetch => {
      void (async () => {
        const body = bytesOf(keyId(fetch.key), sizeOf(fetch.key.part))
        const answer = draw(origin)
        await nextTurn()
        if (answer === 'refused') return fetch.refuse(new RelayError('RELAY_ERR_UPSTREAM_STATUS', 'no'))
        fetch.answer({ size: answer === 'unannounced' ? undefined : body.length, sha256: answer === 'corrupt' ? 'e'.repeat(64) : sha256(body) })
        for (let at = 0; at < body.length - (answer === 'short' ? 1 : 0); at += 1_000) await fetch.send(body.subarray(at, Math.min(at + 1_000, body.length - (answer === 'short' ? 1 : 0))))
        if (answer === 'broken') fetch.breakOff()
        else fetch.end()
      })()
    }
    const views: Promise<unknown>[] = []
    for (const action of steps) {
      if (action.kind === 'turns') {
        for (let turn = 0; turn < action.count; turn++) await nextTurn()
      } else if (action.kind === 'purge') {
        set.service.forbidStore(id => id === keyId(action.key))
        set.cache.purge(action.key)
      } else {
        views.push((async () => {
          const body = bytesOf(keyId(action.key), sizeOf(action.key.part))
          const shard = await set.service.open(action.key)
          try {
            assert.equal(shard.size, body.length)
            for (let at = 0; at < body.length;) {
              const piece = await shard.read(at, Math.min(action.step, body.length - at))
              assert.ok(piece.length > 0)
              assert.ok(Buffer.from(piece).equals(body.subarray(at, at + piece.length)))
              at += piece.length
              if (action.leaves) return
              for (let turn = 0; turn < action.pause; turn++) await nextTurn()
            }
          } finally {
            shard.release()
          }
        })().then(() => undefined, (error: unknown) => error))
      }
      assert.ok(set.cache.disk.usedBytes <= 14_000)
      assert.ok(set.cache.disk.passThrough.usedBytes <= 30_000)
      assert.ok(set.cache.ram.usedBytes <= 50_000)
    }
    for (const error of await Promise.all(views)) if (!(error instanceof RelayError)) assert.ifError(error)
    await assertAtRest(set)
  }), { numRuns: 50 })
})
