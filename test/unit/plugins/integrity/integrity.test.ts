import assert from 'node:assert/strict'
import { suite, test, type TestContext } from 'node:test'
import { deferred } from '../../../../src/base/deferred.ts'
import { RelayError } from '../../../../src/base/errors.ts'
import { EvidenceBook } from '../../../../src/plugins/integrity/evidence.ts'
import { ASK_AGAIN_MS, Integrity } from '../../../../src/plugins/integrity/integrity.ts'
import { ManifestStore, type ManifestStoreOptions } from '../../../../src/plugins/integrity/manifest-store.ts'
import { Quarantine } from '../../../../src/plugins/integrity/quarantine.ts'
import { publisherKey, sha256 } from '../../../../src/plugins/integrity/verify-manifest.ts'
import { settleUnverified } from '../../../../src/plugins/shard-cache/settle.ts'
import type { ShardCache } from '../../../../src/plugins/shard-cache/shard-cache.ts'
import { ShardService } from '../../../../src/plugins/shards/shard-service.ts'
import { keyId, type ShardKey } from '../../../../src/protocol/shard-key.ts'
import { makePublisher, manifestBody, manifestText, signedBody, videoShards } from '../../../../tools/harness/manifests.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'
import { storeBytes } from '../../../../tools/harness/store-bytes.ts'
import { ScriptedUpstream, type ScriptedFetch } from '../../../fakes/upstream.ts'
import { virtualTimers, type VirtualTimers } from '../../../fakes/timers.ts'
import { openTestCache, readAll, until } from '../../../support/cache.ts'

const CID = 'QmVideo'
const KEY: ShardKey = { cid: CID, part: 3 }
const SIZE = 20_000
const SHARDS = videoShards(CID, SIZE)
const RIGHT = SHARDS[3] ?? Buffer.alloc(0)
const LIE = videoShards(CID, SIZE, ' lie')[3] ?? Buffer.alloc(0)
const PUBLISHER = makePublisher()
const BODY = manifestBody(CID, SHARDS)
const MANIFEST = manifestText(signedBody(BODY, PUBLISHER))

interface Lab {
  readonly service: ShardService
  readonly upstream: ScriptedUpstream
  readonly cache: ShardCache
  readonly store: ManifestStore
  readonly timers: VirtualTimers
  readonly evidence: EvidenceBook
  readonly checked: string[]
  readonly logs: string[]
  fetch (index: number): Promise<ScriptedFetch>
}

/** A service whose super-nodes answer by the test, and whose manifests come from `ask`. */
async function setUp (t: TestContext, ask: ManifestStoreOptions['ask'], { unverified = 'serve', signed = true }: { unverified?: 'serve' | 'refuse', signed?: boolean } = {}): Promise<Lab> {
  const { cache } = await openTestCache(t, await temporaryDirectory(t))
  const upstream = new ScriptedUpstream()
  const timers = virtualTimers()
  const clock = { now: () => 0, monotonic: () => timers.now() }
  const key = publisherKey(PUBLISHER.key)
  assert.ok(key !== undefined)
  const policy = { maxBytes: 100_000, maxAgeMs: 0, publishers: new Map(signed ? [[PUBLISHER.key, key]] : []) }
  const evidence = new EvidenceBook()
  const checked: string[] = []
  const logs: string[] = []
  const store: ManifestStore = new ManifestStore({
    ask, kept: async () => undefined, vouched: () => [], policy, quorum: 2, timeoutMs: 3_000, clock, timers, observer: { found: () => {}, refused: () => {} }, believed: (cid, facts) => { integrity.settle(cid, facts) }
  })
  const integrity = new Integrity({
    store,
    policy,
    unverified,
    evidence,
    quarantine: new Quarantine(),
    clock,
    observer: { checked: outcome => { checked.push(outcome) }, settled: outcome => { checked.push(`settled ${outcome}`) } },
    settle: (cid, expected) => settleUnverified(cache, cid, expected),
    log: (_level, message) => { logs.push(message) }
  })
  const service = new ShardService({
    cache, upstream, integrity, observer: { opened: () => {}, openFailed: () => {} }, maxObjectBytes: 100_000, maxManifestBytes: 100_000, maxFills: 10, fillTimeoutMs: 60_000
  })
  t.after(async () => { await service.close() })
  const fetch = async (index: number): Promise<ScriptedFetch> => {
    await until(() => upstream.fetches.length > index)
    const found = upstream.fetches[index]
    assert.ok(found)
    return found
  }
  return { service, upstream, cache, store, timers, evidence, checked, logs, fetch }
}

const signedAnswer: ManifestStoreOptions['ask'] = async (_cid, { take }) => { take({ node: 'm', witness: 'R1', bytes: MANIFEST }) }
const noAnswer: ManifestStoreOptions['ask'] = async () => {}

async function deliver (fetch: ScriptedFetch, bytes: Buffer, head: Parameters<ScriptedFetch['answer']>[0] = { size: bytes.length }): Promise<void> {
  fetch.answer(head)
  await fetch.send(bytes)
  fetch.end()
}

const corrupt = { code: 'RELAY_ERR_UPSTREAM_CORRUPT' }

suite('a fill is compared with its manifest', () => {
  test('right bytes are verified, and stored as such', async t => {
    const lab = await setUp(t, signedAnswer)
    const opening = lab.service.open(KEY)
    await deliver(await lab.fetch(0), RIGHT)
    const shard = await opening
    assert.deepEqual(await readAll(shard), RIGHT)
    shard.release()
    await until(() => lab.service.fills === 0)
    const hit = await lab.service.open(KEY)
    assert.ok(hit.origin.hit && hit.verified)
    hit.release()
    assert.deepEqual(lab.checked, ['verified'])
    assert.equal(lab.cache.details(KEY)?.verified, true)
  })

  test('the first bytes do not wait for the manifest, and the last one does', async t => {
    const manifest = deferred<undefined>()
    const lab = await setUp(t, async (cid, options) => {
      await manifest.promise
      await signedAnswer(cid, options)
    })
    const opening = lab.service.open(KEY)
    const fetch = await lab.fetch(0)
    await deliver(fetch, RIGHT)
    const shard = await opening
    assert.equal(shard.verified, false, 'nobody knows yet')
    let at = 0
    while (at < SIZE - 1) at += (await shard.read(at, SIZE)).length
    const last = shard.read(at, 1)
    assert.equal(await Promise.race([last, new Promise(resolve => { setImmediate(() => { resolve('waits') }) })]), 'waits')
    manifest.resolve(undefined)
    assert.equal((await last).length, 1)
    shard.release()
  })

  test('a reader that was given wrong bytes is reset; one that was given none goes on from another super-node, as does the next', async t => {
    const manifest = deferred<undefined>()
    const lab = await setUp(t, async (cid, options) => {
      await manifest.promise
      await signedAnswer(cid, options)
    })
    const opening = [lab.service.open(KEY), lab.service.open(KEY)] as const
    await deliver(await lab.fetch(0), LIE)
    const [reading, waiting] = await Promise.all(opening)
    const first = await reading.read(0, 100)
    assert.deepEqual(first, LIE.subarray(0, 100))
    manifest.resolve(undefined)
    await assert.rejects(readAll(reading), corrupt)
    reading.release()
    const body = readAll(waiting)
    const second = await lab.fetch(1)
    assert.equal(second.avoids('node-1'), true)
    assert.equal(second.avoids('node-2'), false)
    await deliver(second, RIGHT, { size: SIZE, node: 'node-2' })
    assert.deepEqual(await body, RIGHT)
    waiting.release()
    await until(() => lab.service.fills === 0)
    const hit = await lab.service.open(KEY)
    assert.deepEqual(await readAll(hit), RIGHT)
    hit.release()
    assert.deepEqual(lab.checked, ['wrong', 'verified'])
    assert.deepEqual(lab.evidence.latest(10), [{ nodes: ['node-1'], key: KEY, expected: sha256(RIGHT).toString('hex'), received: sha256(LIE).toString('hex'), by: 'publisher', at: 0 }])
  })

  test('a wrong body of unknown length costs viewers nothing but time', async t => {
    const lab = await setUp(t, signedAnswer)
    const opening = lab.service.open(KEY)
    await deliver(await lab.fetch(0), LIE, {})
    await deliver(await lab.fetch(1), RIGHT, { node: 'node-2' })
    const shard = await opening
    assert.equal(shard.verified, true)
    assert.deepEqual(await readAll(shard), RIGHT)
    shard.release()
  })

  test('with the manifest at hand a head that announces other bytes is enough, and the right one is promised in ours', async t => {
    const lab = await setUp(t, signedAnswer)
    await lab.store.find(CID, [])
    const opening = lab.service.open(KEY)
    const wrong = [{ size: SIZE, sha256: sha256(LIE).toString('hex') }, { size: SIZE + 1 }] as const
    for (const [index, head] of wrong.entries()) (await lab.fetch(index)).answer({ ...head, node: `liar-${index}` })
    await deliver(await lab.fetch(2), RIGHT, { size: SIZE, node: 'node-3' })
    const shard = await opening
    assert.equal(shard.verified, true)
    assert.equal(shard.sha256, sha256(RIGHT).toString('hex'))
    assert.deepEqual(await readAll(shard), RIGHT)
    shard.release()
    assert.deepEqual(lab.evidence.latest(10).map(({ nodes, received }) => [nodes[0], received]).toSorted(), [['liar-0', sha256(LIE).toString('hex')], ['liar-1', undefined]])
  })

  test('a service whose super-nodes all send wrong bytes gives up', async t => {
    const lab = await setUp(t, signedAnswer)
    const node = (): string => `node-${lab.upstream.fetches.length}`
    lab.upstream.onFetch = fetch => { void deliver(fetch, LIE, { node: node() }) }
    await assert.rejects(lab.service.open(KEY), corrupt)
    assert.equal(lab.upstream.fetches.length, 4)
    lab.upstream.onFetch = fetch => { void deliver(fetch, LIE, { size: SIZE, node: node() }) }
    const shard = await lab.service.open(KEY)
    await assert.rejects(readAll(shard), corrupt)
    shard.release()
    assert.ok(lab.upstream.fetches.length <= 4 + 9)
    assert.equal(lab.cache.disk.count, 0)
  })

  test('what is promised and cannot be kept is an error', async t => {
    const lab = await setUp(t, noAnswer)
    // As if another question had found it, and a purge had then forgotten it.
    const opening = lab.service.open(KEY)
    const fetch = await lab.fetch(0)
    const facts = { node: 'm', digest: '', size: 1, merkleRoot: '', shardSize: SIZE, shards: SHARDS.map(shard => sha256(shard).toString('hex')) }
    t.mock.method(lab.store, 'known', () => ({ state: 'believed' as const, facts, by: 'publisher' as const }))
    fetch.answer({ size: SIZE })
    const shard = await opening
    assert.equal(shard.verified, true)
    t.mock.restoreAll()
    await fetch.send(RIGHT)
    fetch.end()
    await assert.rejects(readAll(shard), { code: 'RELAY_ERR_UNVERIFIED' })
    shard.release()
  })
})

suite('without a believed manifest', () => {
  test('an object is served and stored as unverified; a manifest that is believed later verifies it', async t => {
    let ask = noAnswer
    const lab = await setUp(t, async (cid, options) => { await ask(cid, options) })
    const opening = lab.service.open(KEY)
    await deliver(await lab.fetch(0), RIGHT)
    const shard = await opening
    assert.equal(shard.verified, false)
    assert.deepEqual(await readAll(shard), RIGHT)
    shard.release()
    await until(() => lab.service.fills === 0)
    assert.equal(lab.cache.details(KEY)?.verified, false)
    ask = signedAnswer
    lab.service.forbidStore(() => false)
    lab.store.forget(() => true)
    const hit = await lab.service.open(KEY)
    assert.equal(hit.verified, false, 'the viewer does not wait for the question')
    hit.release()
    await until(() => lab.cache.details(KEY)?.verified === true)
    assert.deepEqual(lab.checked, ['unverified', 'settled verified'])
  })

  test('a cached lie goes as soon as the manifest is believed', async t => {
    const lab = await setUp(t, signedAnswer)
    await storeBytes(lab.cache, KEY, LIE)
    await storeBytes(lab.cache, { cid: CID, part: 5 }, SHARDS[5] ?? LIE)
    await storeBytes(lab.cache, { cid: 'QmOther', part: 3 }, LIE)
    await lab.store.find(CID, [])
    assert.equal(lab.cache.has(KEY), false)
    assert.equal(lab.cache.details({ cid: CID, part: 5 })?.verified, true)
    assert.equal(lab.cache.details({ cid: 'QmOther', part: 3 })?.verified, false)
    assert.deepEqual(lab.checked, ['settled evicted', 'settled verified'])
  })

  test('a hit whose manifest is known already is settled at its first use', async t => {
    const lab = await setUp(t, signedAnswer)
    await lab.store.find(CID, [])
    await storeBytes(lab.cache, KEY, RIGHT)
    const first = await lab.service.open(KEY)
    first.release()
    const second = await lab.service.open(KEY)
    assert.equal(second.verified, true)
    second.release()
  })

  test('hits ask for a manifest that nobody has once in ten minutes', async t => {
    let asked = 0
    const lab = await setUp(t, async () => { asked++ })
    await storeBytes(lab.cache, KEY, RIGHT)
    const hit = async (): Promise<void> => { (await lab.service.open(KEY)).release() }
    for (let n = 0; n < 5; n++) await hit()
    await lab.timers.pass(ASK_AGAIN_MS - 1)
    await hit()
    assert.equal(asked, 1)
    await lab.timers.pass(1)
    await hit()
    assert.equal(asked, 2)
  })

  test('where super-nodes contradict each other the object is served and not stored', async t => {
    const lab = await setUp(t, async (_cid, { take }) => { take({ node: 'm', witness: 'R1', bytes: manifestText(BODY) }) }, { signed: false })
    const opening = lab.service.open(KEY)
    await deliver(await lab.fetch(0), LIE)
    const shard = await opening
    assert.deepEqual(await readAll(shard), LIE)
    assert.equal(shard.verified, false)
    shard.release()
    await until(() => lab.service.fills === 0)
    assert.equal(lab.cache.has(KEY), false)
    assert.deepEqual(lab.checked, ['disputed'])
    assert.deepEqual(lab.logs, ['super-nodes contradict each other and no manifest is believed: nothing is stored'])
  })

  test('it is refused where the policy says so', async t => {
    const lab = await setUp(t, noAnswer, { unverified: 'refuse' })
    const opening = lab.service.open(KEY)
    await deliver(await lab.fetch(0), RIGHT, {})
    await assert.rejects(opening, (error: unknown) => error instanceof RelayError && error.code === 'RELAY_ERR_UNVERIFIED' && error.status === 502)
    assert.equal(lab.cache.has(KEY), false)
  })
})

suite('a manifest as an object', () => {
  const key: ShardKey = { cid: CID, part: 'manifest' }

  test('is verified when it is the believed one, or another of a publisher for the same shards', async t => {
    for (const bytes of [MANIFEST, manifestText(signedBody({ ...BODY, createdAt: 1 }, PUBLISHER))]) {
      const lab = await setUp(t, signedAnswer)
      const opening = lab.service.open(key)
      await deliver(await lab.fetch(0), bytes)
      const shard = await opening
      assert.deepEqual(await readAll(shard), bytes)
      shard.release()
      await until(() => lab.service.fills === 0)
      assert.equal(lab.cache.details(key)?.verified, true, keyId(key))
    }
  })

  test('is wrong when it lists other shards, or nobody we trust signed it', async t => {
    const others = [
      manifestText(signedBody(manifestBody(CID, videoShards(CID, SIZE, ' lie')), PUBLISHER)),
      manifestText(BODY),
      Buffer.from('{}')
    ]
    for (const bytes of others) {
      const lab = await setUp(t, signedAnswer)
      const opening = lab.service.open(key)
      await deliver(await lab.fetch(0), bytes, {})
      await deliver(await lab.fetch(1), MANIFEST, { node: 'node-2' })
      const shard = await opening
      assert.deepEqual(await readAll(shard), MANIFEST)
      shard.release()
      assert.equal(lab.evidence.offenders()[0]?.node, 'node-1')
    }
  })
})
