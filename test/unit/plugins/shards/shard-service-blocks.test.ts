import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { suite, test, type TestContext } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { deferred } from '../../../../src/base/deferred.ts'
import { RelayError } from '../../../../src/base/errors.ts'
import { WrongObjectError, type ExpectedBlocks } from '../../../../src/plugins/integrity/integrity.ts'
import type { ShardCache } from '../../../../src/plugins/shard-cache/shard-cache.ts'
import { ShardService, type ShardServiceOptions } from '../../../../src/plugins/shards/shard-service.ts'
import type { OpenShard } from '../../../../src/plugins/shards/open-shard.ts'
import type { UpstreamFetchOptions, UpstreamObject } from '../../../../src/plugins/upstream/upstream-types.ts'
import type { RangeSpec } from '../../../../src/protocol/range.ts'
import type { ShardKey } from '../../../../src/protocol/shard-key.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'
import { sha256 } from '../../../../tools/harness/store-bytes.ts'
import { ScriptedParts, type ScriptedPart } from '../../../fakes/parts.ts'
import { ScriptedFetch } from '../../../fakes/upstream.ts'
import { bytesOf, openTestCache, until } from '../../../support/cache.ts'

const KEY: ShardKey = { cid: 'service', part: 4 }
const BLOCK = 100
const SIZE = 1_950
const BODY = bytesOf('service blocks', SIZE)
const EXPECTED: ExpectedBlocks = {
  size: SIZE,
  sha256: sha256(BODY),
  blockSize: BLOCK,
  hashes: Buffer.concat(Array.from({ length: 20 }, (_, block) => createHash('sha256').update(BODY.subarray(block * BLOCK, (block + 1) * BLOCK)).digest()))
}
/** In block 15. */
const RANGE: RangeSpec = { kind: 'from', first: 1_510, last: 1_539 }

interface Setup {
  readonly service: ShardService
  readonly cache: ShardCache
  /** Requests for the whole object, from its start. */
  readonly inOrder: ScriptedFetch[]
  readonly parts: ScriptedParts
  /** Keys whose manifest was waited for, each time. */
  readonly waits: ShardKey[]
  /** What is known of blocks; nothing at first. */
  blocks: ExpectedBlocks | undefined
  /** What happens while a manifest is waited for. */
  onWait: () => void | Promise<void>
}

async function setUp (t: TestContext, options: Partial<ShardServiceOptions> = {}): Promise<Setup> {
  const { cache } = await openTestCache(t, await temporaryDirectory(t), {})
  const inOrder: ScriptedFetch[] = []
  const parts = new ScriptedParts(KEY)
  const waits: ShardKey[] = []
  const fetch = async (key: ShardKey, signal: AbortSignal, asked: UpstreamFetchOptions = {}): Promise<UpstreamObject> => {
    const { part } = asked
    if (part !== undefined) return await parts.fetch(signal, { asked: new Set(), wanted: asked.wanted ?? (() => true), repairs: () => {} }, part)
    const whole = new ScriptedFetch(key, signal, asked)
    inOrder.push(whole)
    return await whole.object
  }
  const service = new ShardService({
    cache,
    upstream: { fetch },
    integrity: {
      begin: () => ({ expected: undefined, head: () => {}, judge: async () => 'verified' }),
      avoids: () => false,
      used: () => {},
      forget: () => {},
      verified: () => {},
      distrustBlocks: () => { set.blocks = undefined },
      doubtBlocks: () => false,
      blame: () => { throw new WrongObjectError('wrong') },
      blocksOf: () => set.blocks,
      expects: async key => {
        waits.push(key)
        await set.onWait()
        return set.blocks
      }
    },
    observer: { opened: () => {}, openFailed: () => {} },
    maxObjectBytes: 1_000_000,
    maxManifestBytes: 1_000,
    maxFills: 100,
    fillTimeoutMs: 60_000,
    ...options
  })
  const set: Setup = { service, cache, inOrder, parts, waits, blocks: undefined, onWait: () => {} }
  t.after(async () => { await service.close() })
  await cache.reconciled
  return set
}

async function nextPart ({ parts }: Setup, count = 1): Promise<ScriptedPart> {
  await until(() => parts.asked.length >= count)
  const part = parts.asked[count - 1]
  assert.ok(part)
  return part
}

async function nextInOrder ({ inOrder }: Setup, count = 1): Promise<ScriptedFetch> {
  await until(() => inOrder.length >= count)
  const fetch = inOrder[count - 1]
  assert.ok(fetch)
  return fetch
}

/** A fill in order that some of the object has come of. */
async function halfInOrder (set: Setup): Promise<{ whole: Promise<OpenShard>, old: ScriptedFetch }> {
  const whole = set.service.open(KEY)
  const old = await nextInOrder(set)
  old.answer({ size: SIZE, sha256: EXPECTED.sha256 })
  await old.send(BODY.subarray(0, 500))
  return { whole, old }
}

async function read (shard: OpenShard, start: number, end: number): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for (let at = start; at < end;) {
    const piece = await shard.read(at, end - at, end)
    pieces.push(piece)
    at += piece.length
  }
  shard.release()
  return Buffer.concat(pieces)
}

suite('a shard service that knows blocks', () => {
  test('asks for the blocks of a range first, then for the rest, and stores the object', async t => {
    const set = await setUp(t)
    set.blocks = EXPECTED
    const opening = set.service.open(KEY, { range: RANGE })
    const first = await nextPart(set)
    assert.deepEqual(first.part, { from: 1_500, to: SIZE, size: SIZE, sha256: EXPECTED.sha256 })
    const delivered = first.deliver(BODY)
    const shard = await opening
    assert.deepEqual([shard.size, shard.sha256, shard.verified, shard.file?.byBlocks], [SIZE, EXPECTED.sha256, true, true])
    assert.deepEqual(await read(shard, 1_510, 1_540), BODY.subarray(1_510, 1_540))
    await delivered
    await (await nextPart(set, 2)).deliver(BODY)
    await until(() => set.service.fills === 0)
    assert.equal(set.cache.has(KEY), true)
    assert.deepEqual(set.waits, [], 'what is known is not waited for')
  })

  test('a suffix begins where it begins, and what lies behind the end at the start', async t => {
    for (const [range, from] of [[{ kind: 'suffix', length: 30 }, 1_900], [{ kind: 'suffix', length: SIZE + 1 }, 0], [{ kind: 'from', first: SIZE, last: undefined }, 0]] as const) {
      const set = await setUp(t)
      set.blocks = EXPECTED
      const opening = set.service.open(KEY, { range })
      const part = await nextPart(set)
      assert.equal(part.part.from, from)
      part.agree()
      ;(await opening).release()
    }
  })

  test('a range on a fill in order, when blocks become known, is served by a fill by blocks, and that one is stored', async t => {
    const set = await setUp(t)
    const { whole, old } = await halfInOrder(set)
    set.onWait = () => { set.blocks = EXPECTED }
    const opening = set.service.open(KEY, { range: RANGE })
    const first = await nextPart(set)
    assert.equal(first.part.from, 1_500)
    await first.deliver(BODY)
    assert.deepEqual(await read(await opening, 1_510, 1_540), BODY.subarray(1_510, 1_540))
    assert.deepEqual(set.waits, [KEY])
    const second = await nextPart(set, 2)
    assert.equal(set.service.fills, 2)
    // Whoever comes now joins the one by blocks.
    const third = await set.service.open(KEY)
    assert.equal(third.file?.byBlocks, true)
    third.release()
    await old.send(BODY.subarray(500))
    old.end()
    assert.deepEqual(await read(await whole, 0, SIZE), BODY)
    await until(() => set.service.fills === 1)
    assert.equal(set.cache.has(KEY), false, 'the one in order is not stored')
    await second.deliver(BODY)
    await until(() => set.service.fills === 0)
    assert.equal(set.cache.has(KEY), true)
    assert.equal(set.inOrder.length, 1)
  })

  test('a fill in order that nobody waits for ends when a range takes over', async t => {
    const set = await setUp(t)
    set.service.bringIn(KEY)
    const old = await nextInOrder(set)
    old.answer({ size: SIZE, sha256: EXPECTED.sha256 })
    await old.send(BODY.subarray(0, 500))
    set.blocks = EXPECTED
    const opening = set.service.open(KEY, { range: RANGE })
    const first = await nextPart(set)
    assert.equal(old.signal.aborted, true)
    const delivered = first.deliver(BODY)
    assert.deepEqual(await read(await opening, 1_510, 1_540), BODY.subarray(1_510, 1_540))
    await delivered
  })

  test('a range joins a fill in order whose blocks stay unknown, or that is complete', async t => {
    const set = await setUp(t)
    const { whole, old } = await halfInOrder(set)
    const shard = await set.service.open(KEY, { range: RANGE })
    assert.equal(shard.file?.byBlocks, false)
    assert.deepEqual(set.waits, [KEY])
    await old.send(BODY.subarray(500))
    old.end()
    assert.deepEqual(await read(shard, 1_510, 1_540), BODY.subarray(1_510, 1_540))
    assert.deepEqual(await read(await whole, 0, SIZE), BODY)
    await until(() => set.service.fills === 0)
    assert.equal(set.cache.has(KEY), true)
    assert.equal(set.parts.asked.length, 0)
  })

  test('several ranges at the same time start one fill, known or not, also one that takes over', async t => {
    for (const when of ['known', 'unknown', 'in order'] as const) {
      const set = await setUp(t)
      const gate = deferred<undefined>()
      if (when === 'known') set.blocks = EXPECTED
      const whole = when === 'in order' ? set.service.open(KEY) : undefined
      if (when === 'in order') (await nextInOrder(set)).answer({ size: SIZE, sha256: EXPECTED.sha256 })
      set.onWait = async () => {
        await gate.promise
        set.blocks = EXPECTED
      }
      const ranges: readonly RangeSpec[] = [RANGE, RANGE, { kind: 'from', first: 1_600, last: 1_609 }]
      const opening = ranges.map(async range => await set.service.open(KEY, { range }))
      for (let turn = 0; turn < 5; turn++) await nextTurn()
      if (when !== 'known') assert.equal(set.parts.asked.length, 0)
      gate.resolve(undefined)
      await (await nextPart(set)).deliver(BODY)
      const shards = await Promise.all(opening)
      assert.equal(set.service.fills, when === 'in order' ? 2 : 1, when)
      assert.equal(shards.filter(({ origin }) => !origin.hit && !origin.collapsed).length, 1)
      for (const shard of shards) assert.deepEqual(await read(shard, 1_510, 1_540), BODY.subarray(1_510, 1_540))
      await (await nextPart(set, 2)).deliver(BODY)
      if (whole !== undefined) {
        const [old] = set.inOrder
        await old?.send(BODY)
        old?.end()
        assert.deepEqual(await read(await whole, 0, SIZE), BODY)
      }
      await until(() => set.service.fills === 0)
      assert.equal(set.parts.asked.length, 2)
      assert.equal(set.inOrder.length, when === 'in order' ? 1 : 0)
      assert.equal(set.waits.length, when === 'known' ? 0 : 3)
      assert.equal(set.cache.has(KEY), true)
    }
  })

  test('a range waits for the manifest once, and goes on without blocks where there are none', async t => {
    const set = await setUp(t)
    const gate = deferred<undefined>()
    set.onWait = async () => { await gate.promise }
    const opening = set.service.open(KEY, { range: RANGE })
    await until(() => set.waits.length > 0)
    for (let turn = 0; turn < 5; turn++) await nextTurn()
    assert.equal(set.inOrder.length, 0)
    gate.resolve(undefined)
    const fetch = await nextInOrder(set)
    fetch.answer({ size: SIZE, sha256: EXPECTED.sha256 })
    const shard = await opening
    await fetch.send(BODY)
    fetch.end()
    assert.deepEqual(await read(shard, 1_510, 1_540), BODY.subarray(1_510, 1_540))
    assert.deepEqual(set.waits, [KEY])
    await until(() => set.service.fills === 0)
  })

  test('who wants all of an object waits for no manifest, and no miss that is refused does', async t => {
    const set = await setUp(t)
    const opening = [set.service.open(KEY, { range: { kind: 'from', first: 0, last: undefined } }), set.service.open(KEY)]
    const fetch = await nextInOrder(set)
    fetch.answer({ size: SIZE })
    for (const shard of await Promise.all(opening)) shard.release()
    assert.deepEqual(set.waits, [])
    const busy = await setUp(t, { refuseMiss: () => new RelayError('RELAY_ERR_OVERLOADED', 'too much') })
    await assert.rejects(busy.service.open(KEY, { range: RANGE }), { code: 'RELAY_ERR_OVERLOADED' })
    await assert.rejects(busy.service.open(KEY, { range: RANGE, onlyIfCached: true }), { code: 'RELAY_ERR_NOT_CACHED' })
    assert.deepEqual(busy.waits, [])
  })

  test('an object that is larger than what is taken comes in order, and is refused as any other', async t => {
    const set = await setUp(t, { maxObjectBytes: SIZE - 1 })
    set.blocks = EXPECTED
    const failed = assert.rejects(set.service.open(KEY, { range: RANGE }), { code: 'RELAY_ERR_UPSTREAM_TOO_LARGE' })
    const fetch = await nextInOrder(set)
    fetch.answer({ size: SIZE, sha256: EXPECTED.sha256 })
    await failed
    assert.equal(set.parts.asked.length, 0)
  })

  test('a purged object is read on and not stored, and whoever comes then starts anew', async t => {
    const set = await setUp(t)
    set.blocks = EXPECTED
    const opening = set.service.open(KEY, { range: RANGE })
    const first = await nextPart(set)
    first.agree()
    const shard = await opening
    set.service.forbidStore(() => true)
    const later = set.service.open(KEY)
    const anew = await nextPart(set, 2)
    assert.equal(anew.part.from, 0)
    anew.agree()
    ;(await later).release()
    await first.give(BODY)
    first.end()
    assert.deepEqual(await read(shard, 1_510, 1_540), BODY.subarray(1_510, 1_540))
    await (await nextPart(set, 3)).deliver(BODY)
    await until(() => set.service.fills === 1)
    assert.equal(set.cache.has(KEY), false)
    await anew.give(BODY)
    anew.end()
    await until(() => set.service.fills === 0)
    assert.equal(set.cache.has(KEY), true)
  })
})
