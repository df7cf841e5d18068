import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { suite, test, type TestContext } from 'node:test'
import { RelayError } from '../../../../src/base/errors.ts'
import { BlockDoubts, DOUBT_MS, MAX_DOUBTS } from '../../../../src/plugins/integrity/block-doubts.ts'
import { EvidenceBook } from '../../../../src/plugins/integrity/evidence.ts'
import { Integrity } from '../../../../src/plugins/integrity/integrity.ts'
import { ManifestStore } from '../../../../src/plugins/integrity/manifest-store.ts'
import { Quarantine } from '../../../../src/plugins/integrity/quarantine.ts'
import { publisherKey, sha256 } from '../../../../src/plugins/integrity/verify-manifest.ts'
import { ShardService } from '../../../../src/plugins/shards/shard-service.ts'
import type { UpstreamFetchOptions, UpstreamObject } from '../../../../src/plugins/upstream/upstream-types.ts'
import type { ShardKey } from '../../../../src/protocol/shard-key.ts'
import { makePublisher, manifestBody, manifestText, signedBody, videoShards } from '../../../../tools/harness/manifests.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'
import { virtualTimers } from '../../../fakes/timers.ts'
import { openTestCache, readAll } from '../../../support/cache.ts'

const CID = 'QmVideo'
const KEY: ShardKey = { cid: CID, part: 3 }
const SIZE = 150_000
const BLOCK = 65_536
const SHARDS = videoShards(CID, SIZE)
const OTHERS = videoShards(CID, SIZE, ' other')
const PUBLISHER = makePublisher()

function blocksOf (shard: Buffer): string {
  return Buffer.concat([0, 1, 2].map(block => sha256(shard.subarray(block * BLOCK, (block + 1) * BLOCK)))).toString('base64')
}

/** A signed manifest of the shards whose blocks are those of others. */
function manifestOf (shards: readonly Buffer[], blocks: readonly Buffer[]): Buffer {
  const body = manifestBody(CID, shards)
  const rows = (body['shards'] as object[]).map((row, index) => ({ ...row, blocks: blocksOf(blocks[index] ?? Buffer.alloc(SIZE)) }))
  return manifestText(signedBody({ ...body, blockSize: BLOCK, shards: rows }, PUBLISHER))
}

interface Lab {
  readonly service: ShardService
  readonly store: ManifestStore
  readonly evidence: EvidenceBook
  readonly integrity: Integrity
  /** Node and part of every request. */
  readonly asked: string[]
  readonly logs: string[]
}

/** @param nodes what each super-node has of shard 3 and all others */
async function setUp (t: TestContext, manifest: Buffer, nodes: Readonly<Record<string, Buffer>>): Promise<Lab> {
  const { cache } = await openTestCache(t, await temporaryDirectory(t))
  await cache.reconciled
  const timers = virtualTimers()
  const clock = { now: () => 0, monotonic: () => timers.now() }
  const key = publisherKey(PUBLISHER.key)
  assert.ok(key !== undefined)
  const policy = { maxBytes: 100_000, maxAgeMs: 0, publishers: new Map([[PUBLISHER.key, key]]) }
  const [evidence, logs, asked]: [EvidenceBook, string[], string[]] = [new EvidenceBook(), [], []]
  const store = new ManifestStore({
    ask: async (_cid, { take }) => { take({ node: 'm', witness: 'R1', bytes: manifest }) },
    kept: async () => undefined,
    vouched: () => [],
    policy,
    quorum: 2,
    timeoutMs: 3_000,
    clock,
    timers,
    observer: { found: () => {}, refused: () => {} },
    believed: () => {}
  })
  const integrity = new Integrity({
    store, policy, unverified: 'serve', evidence, quarantine: new Quarantine(), clock, observer: { checked: () => {}, settled: () => {} }, settle: () => [], log: (_level, message) => { logs.push(message) }
  })
  const fetch = async (_key: ShardKey, _signal: AbortSignal, { part, avoids }: UpstreamFetchOptions = {}): Promise<UpstreamObject> => {
    const node = Object.keys(nodes).find(name => avoids?.(name) !== true)
    if (node === undefined) throw new RelayError('RELAY_ERR_UPSTREAM_CORRUPT', 'every super-node sent wrong bytes')
    asked.push(`${node} ${part === undefined ? 'whole' : 'part'}`)
    const bytes = nodes[node]?.subarray(part?.from ?? 0, part?.to) ?? Buffer.alloc(0)
    return {
      node,
      senders: [node],
      region: 'R1',
      headMs: 1,
      size: SIZE,
      sha256: undefined,
      sha512: undefined,
      storable: true,
      offset: part?.from ?? 0,
      body: Readable.from([bytes]),
      failed: error => error instanceof RelayError ? error : new RelayError('RELAY_ERR_UPSTREAM_BODY', 'broke', { cause: error })
    }
  }
  const service = new ShardService({ cache, upstream: { fetch }, integrity, observer: { opened: () => {}, openFailed: () => {} }, maxObjectBytes: 1_000_000, maxManifestBytes: 100_000, maxFills: 10, fillTimeoutMs: 60_000 })
  t.after(async () => { await service.close() })
  await store.find(CID, [])
  return { service, store, evidence, integrity, asked, logs }
}

async function bytesOf ({ service }: Lab, key: ShardKey = KEY): Promise<Buffer> {
  const shard = await service.open(key)
  try {
    return await readAll(shard)
  } finally {
    shard.release()
  }
}

const right = SHARDS[3] ?? Buffer.of()
const other = OTHERS[3] ?? Buffer.of()

suite('a manifest whose blocks are not those of the shards it names', () => {
  test('is found out by what super-nodes have, once: the shard is right as a whole, nobody is blamed, and blocks are not used again, also when it is found again', async t => {
    for (const nodes of [{ a: right }, { a: right, b: right, c: right }]) {
      const lab = await setUp(t, manifestOf(SHARDS, OTHERS), nodes)
      assert.ok((await bytesOf(lab)).equals(right))
      // One by itself has to be asked for a whole; two that agree are enough.
      assert.deepEqual(lab.asked, 'b' in nodes ? ['a part', 'b part', 'a whole'] : ['a part', 'a whole'])
      assert.deepEqual(lab.evidence.offenders(), [])
      assert.equal(lab.logs.filter(message => message.startsWith('manifest contradicts itself')).length, 1)
      assert.equal(lab.integrity.blocksOf({ cid: CID, part: 5 }), undefined)
      lab.store.forget(() => true)
      await lab.store.find(CID, [])
      assert.notEqual(lab.integrity.sizeOf(KEY), undefined)
      assert.equal(lab.integrity.blocksOf({ cid: CID, part: 5 }), undefined)
    }
  })

  test('with nodes that have what the blocks say: who reads by blocks reads that, nothing is stored, and then nothing is asked for by blocks, and not again and again', async t => {
    const lab = await setUp(t, manifestOf(SHARDS, OTHERS), { a: other, b: other })
    assert.ok((await bytesOf(lab)).equals(other))
    for (let n = 0; n < 5; n++) await assert.rejects(bytesOf(lab), { code: 'RELAY_ERR_UPSTREAM_CORRUPT' })
    assert.deepEqual(lab.asked, ['a part', 'a whole', 'b whole'])
  })
})

suite('a manifest that is right', () => {
  test('is doubted when two liars agree, which costs a whole shard and no wrong byte; blocks are used again, and not doubted for a while', async t => {
    const lab = await setUp(t, manifestOf(SHARDS, SHARDS), { a: other, b: other, c: right })
    // Who was given bytes that nobody had verified yet is reset.
    for (let n = 0; n < 2; n++) await assert.rejects(bytesOf(lab), { code: 'RELAY_ERR_UPSTREAM_CORRUPT' })
    assert.ok((await bytesOf(lab)).equals(right))
    assert.deepEqual(lab.asked, ['a part', 'b part', 'a whole', 'b whole', 'c whole'])
    assert.deepEqual(lab.evidence.offenders().map(({ node }) => node).toSorted(), ['a', 'b'])
    assert.notEqual(lab.integrity.blocksOf(KEY), undefined)
    assert.equal(lab.integrity.doubtBlocks(KEY, ['a']), false)
    assert.equal(lab.integrity.avoids('a', KEY), true)
  })
})

test('doubts are bounded and last for a time', () => {
  const doubts = new BlockDoubts()
  assert.equal(doubts.raise('one', 0), true)
  assert.deepEqual([doubts.has('one', DOUBT_MS - 1), doubts.has('one', DOUBT_MS), doubts.has('two', 0)], [true, false, false])
  doubts.dispel('one', 5)
  assert.deepEqual([doubts.has('one', 5), doubts.raise('one', 6), doubts.raise('one', 5 + DOUBT_MS)], [false, false, true])
  for (let n = 0; n < 2 * MAX_DOUBTS; n++) doubts.raise(`id-${n}`, 0)
  assert.equal(doubts.size, MAX_DOUBTS)
})
