import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { encodeShards } from '../../../../demo/super-node/erasure.ts'
import { systemClock, systemTimers } from '../../../../src/base/clock.ts'
import { RelayError } from '../../../../src/base/errors.ts'
import { WrongObjectError, type Attestation } from '../../../../src/plugins/integrity/integrity.ts'
import { rebuildPieces } from '../../../../src/plugins/repair/erasure-code.ts'
import { Repair } from '../../../../src/plugins/repair/repair.ts'
import type { ShardCache } from '../../../../src/plugins/shard-cache/shard-cache.ts'
import { ShardService, type ShardServiceOptions } from '../../../../src/plugins/shards/shard-service.ts'
import type { ShardKey } from '../../../../src/protocol/shard-key.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'
import { sha256 } from '../../../../tools/harness/store-bytes.ts'
import { ScriptedUpstream, type ScriptedFetch } from '../../../fakes/upstream.ts'
import { bytesOf, openTestCache, readAll, until } from '../../../support/cache.ts'

const CID = 'QmMended'
const SIZE = 30_000
const VIDEO = encodeShards(bytesOf('mended', SIZE * 10))
const GONE = new RelayError('RELAY_ERR_SHARD_NOT_FOUND', 'nobody has it')
const shardOf = ({ part }: ShardKey): Buffer => VIDEO[Number(part)] ?? Buffer.alloc(0)

interface Lab {
  readonly service: ShardService
  readonly upstream: ScriptedUpstream
  readonly cache: ShardCache
  readonly outcomes: string[]
  readonly opened: () => number
  readonly get: (part: number) => Promise<Buffer>
  readonly atRest: () => Promise<void>
}

/** A manifest is believed, and says what the shards are. */
function attestation (key: ShardKey): Attestation {
  const expected = { size: SIZE, sha256: sha256(shardOf(key)) }
  return {
    expected,
    head: () => {},
    judge: async received => {
      if (received.sha256 !== expected.sha256) throw new WrongObjectError('a lie')
      return 'verified'
    }
  }
}

/** A service whose super-nodes have the shards that `has` says. */
async function setUp (t: TestContext, has: (part: number) => boolean, options: Partial<ShardServiceOptions> = {}): Promise<Lab> {
  const { cache } = await openTestCache(t, await temporaryDirectory(t))
  await cache.reconciled
  const upstream = new ScriptedUpstream()
  const outcomes: string[] = []
  const rebuild = { rebuild: async (...[pieces, wanted]: Parameters<typeof rebuildPieces>) => rebuildPieces(pieces, wanted) }
  const repair = new Repair({
    erasure: rebuild,
    expects: async key => attestation(key).expected,
    cached: key => cache.has(key),
    concurrency: 4,
    timeoutMs: 60_000,
    clock: systemClock,
    timers: systemTimers,
    observer: { ended: outcome => { outcomes.push(outcome) } },
    log: () => {}
  })
  let opened = 0
  const service = new ShardService({
    cache,
    upstream,
    integrity: { begin: attestation, avoids: () => false, used: () => {}, forget: () => {}, blocksOf: () => undefined, expects: async () => undefined, blame: () => { throw new Error('nobody is blamed') }, verified: () => {}, distrustBlocks: () => {}, doubtBlocks: () => false },
    repair,
    observer: { opened: () => { opened++ }, openFailed: () => {} },
    maxObjectBytes: 100_000,
    maxManifestBytes: 100_000,
    maxFills: 40,
    fillTimeoutMs: 60_000,
    ...options
  })
  t.after(async () => { await service.close() })
  upstream.onFetch = fetch => {
    if (has(Number(fetch.key.part))) void deliver(fetch)
    else fetch.refuse(GONE)
  }
  const get = async (part: number): Promise<Buffer> => {
    const shard = await service.open({ cid: CID, part })
    try {
      return await readAll(shard)
    } finally {
      shard.release()
    }
  }
  const atRest = async (): Promise<void> => {
    await until(() => service.fills === 0 && cache.disk.openFiles === 0 && cache.disk.reservedBytes === 0 && repair.running + repair.waiting === 0)
  }
  return { service, upstream, cache, outcomes, opened: () => opened, get, atRest }
}

async function deliver (fetch: ScriptedFetch, bytes = shardOf(fetch.key)): Promise<void> {
  fetch.answer({ size: SIZE, sha256: sha256(bytes) })
  await fetch.send(bytes)
  fetch.end()
}

test('a shard that no super-node has is rebuilt once for all who want it, stored, and a hit afterwards; its siblings are cached with it and are no requests', async t => {
  const { cache, upstream, outcomes, opened, get, atRest } = await setUp(t, part => part !== 3)
  for (const body of await Promise.all([get(3), get(3), get(3)])) assert.ok(body.equals(shardOf({ cid: CID, part: 3 })))
  await atRest()
  assert.deepEqual(outcomes, ['repaired'])
  assert.equal(upstream.of({ cid: CID, part: 3 }).length, 1)
  assert.ok(upstream.fetches.length >= 11 && upstream.fetches.length <= 12, `${upstream.fetches.length} fetches`)
  assert.deepEqual([cache.details({ cid: CID, part: 3 })?.verified, cache.details({ cid: CID, part: 3 })?.sha256], [true, sha256(shardOf({ cid: CID, part: 3 }))])
  assert.equal(opened(), 3)
  assert.ok((await get(3)).equals(shardOf({ cid: CID, part: 3 })))
  assert.equal(upstream.of({ cid: CID, part: 3 }).length, 1)
})

test('siblings in the cache are enough: nobody is asked for any', async t => {
  const { upstream, get, atRest } = await setUp(t, part => part >= 4)
  for (let part = 4; part < 14; part++) await get(part)
  await atRest()
  for (const part of [0, 1, 2, 3]) assert.ok((await get(part)).equals(shardOf({ cid: CID, part })))
  await atRest()
  assert.deepEqual(upstream.fetches.slice(10).map(({ key }) => key.part), [0, 1, 2, 3])
})

test('four that are gone and wanted at the same time do not wait for each other', async t => {
  const { get, outcomes, atRest } = await setUp(t, part => part >= 4)
  const bodies = await Promise.all(Array.from({ length: 14 }, async (_, part) => await get(part)))
  for (const [part, body] of bodies.entries()) assert.ok(body.equals(shardOf({ cid: CID, part })))
  await atRest()
  assert.deepEqual(outcomes, ['repaired', 'repaired', 'repaired', 'repaired'])
})

test('five that are gone and wanted at the same time are missing, and everybody hears it', async t => {
  const { get, atRest } = await setUp(t, part => part >= 5)
  const ends = await Promise.allSettled(Array.from({ length: 14 }, async (_, part) => await get(part)))
  assert.deepEqual(ends.map(({ status }) => status), Array.from({ length: 14 }, (_, part) => part < 5 ? 'rejected' : 'fulfilled'))
  for (const end of ends) if (end.status === 'rejected') assert.equal((end.reason as RelayError).code, 'RELAY_ERR_SHARD_NOT_FOUND')
  await atRest()
})

test('whoever wants a sibling that a repair asks for in vain gets it rebuilt', async t => {
  const lab = await setUp(t, part => part !== 0 && part !== 1)
  const held: ScriptedFetch[] = []
  const { onFetch } = lab.upstream
  lab.upstream.onFetch = fetch => {
    if (fetch.key.part === 1 && held.length === 0) held.push(fetch)
    else onFetch(fetch)
  }
  const first = lab.get(0)
  await until(() => held.length === 1)
  const second = lab.get(1)
  assert.ok((await first).equals(shardOf({ cid: CID, part: 0 })))
  held[0]?.refuse(GONE)
  assert.ok((await second).equals(shardOf({ cid: CID, part: 1 })))
  await lab.atRest()
})

test('every super-node lies, with the digest of the right bytes: none of it is stored, and the next request is answered by repair', async t => {
  const lab = await setUp(t, () => true)
  const { onFetch } = lab.upstream
  let lies = 0
  lab.upstream.onFetch = fetch => {
    if (fetch.key.part !== 3) onFetch(fetch)
    else if (lies++ < 2) {
      const lie = Buffer.alloc(SIZE, lies)
      fetch.answer({ size: SIZE, sha256: sha256(shardOf(fetch.key)) })
      void fetch.send(lie).then(() => { fetch.end() })
    } else fetch.refuse(new RelayError('RELAY_ERR_UPSTREAM_CORRUPT', 'every super-node sent wrong bytes'))
  }
  const shard = await lab.service.open({ cid: CID, part: 3 })
  // Whoever has been given nothing yet is given nothing wrong.
  assert.ok(Buffer.from(await shard.read(SIZE - 1, 1)).equals(shardOf({ cid: CID, part: 3 }).subarray(-1)))
  shard.release()
  assert.ok((await lab.get(3)).equals(shardOf({ cid: CID, part: 3 })))
  await lab.atRest()
  assert.deepEqual([lies, lab.outcomes], [3, ['repaired']])
})

test('under load nothing is begun to rebuild a shard', async t => {
  let asked = 0
  const lab = await setUp(t, part => part !== 3, { refuseMiss: () => asked++ === 0 ? undefined : new RelayError('RELAY_ERR_OVERLOADED', 'shed') })
  await assert.rejects(lab.get(3), { code: 'RELAY_ERR_OVERLOADED' })
  assert.equal(lab.upstream.fetches.length, 1)
  await lab.atRest()
})

test('a relay that stops ends its repairs', async t => {
  const lab = await setUp(t, part => part !== 3)
  const { onFetch } = lab.upstream
  lab.upstream.onFetch = fetch => { if (fetch.key.part === 3) onFetch(fetch) }
  const waiting = assert.rejects(lab.get(3), { code: 'RELAY_ERR_STOPPING' })
  await until(() => lab.upstream.fetches.length === 12)
  await lab.service.close()
  await waiting
  await lab.atRest()
  assert.deepEqual(lab.outcomes, ['aborted'])
})
