import assert from 'node:assert/strict'
import { suite, test, type TestContext } from 'node:test'
import { RelayError } from '../../../../src/base/errors.ts'
import type { OpenShard } from '../../../../src/plugins/shards/open-shard.ts'
import { ShardService } from '../../../../src/plugins/shards/shard-service.ts'
import type { ShardKey } from '../../../../src/protocol/shard-key.ts'
import { sha256, storeBytes } from '../../../../tools/harness/store-bytes.ts'
import { faultyFs, type FaultyFs } from '../../../fakes/faulty-fs.ts'
import { ScriptedUpstream, type ScriptedFetch } from '../../../fakes/upstream.ts'
import { bytesOf, openTestCache, readAll, until } from '../../../support/cache.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'

const BODY = bytesOf('overload', 300_000)
const HIT: ShardKey = { cid: 'hit', part: 1 }
const MISS: ShardKey = { cid: 'miss', part: 2 }
const OVERLOADED = { code: 'RELAY_ERR_OVERLOADED', retryAfterSeconds: 5 }

interface Rig { service: ShardService, upstream: ScriptedUpstream, faulty: FaultyFs, codes: string[], asked: () => number, readonly shed: (on: boolean) => void }

async function rig (t: TestContext): Promise<Rig> {
  const faulty = faultyFs()
  const { cache } = await openTestCache(t, await temporaryDirectory(t), { fs: faulty.fs })
  await storeBytes(cache, HIT, BODY)
  const upstream = new ScriptedUpstream()
  const codes: string[] = []
  let shedding = false
  let asked = 0
  const service = new ShardService({
    cache,
    upstream,
    observer: { opened: () => {}, openFailed: ({ code }) => { codes.push(code) } },
    maxObjectBytes: 1_000_000,
    maxManifestBytes: 1_000,
    maxFills: 10,
    fillTimeoutMs: 60_000,
    refuseMiss: () => {
      asked++
      return shedding ? new RelayError('RELAY_ERR_OVERLOADED', 'busy', { retryAfterSeconds: 5 }) : undefined
    }
  })
  return { service, upstream, faulty, codes, asked: () => asked, shed: on => { shedding = on } }
}

async function fetchOf (upstream: ScriptedUpstream, count: number): Promise<ScriptedFetch> {
  await until(() => upstream.fetches.length >= count)
  return upstream.fetches[count - 1] ?? assert.fail('no fetch')
}

async function deliver (fetch: ScriptedFetch): Promise<void> {
  fetch.answer({ size: BODY.length, sha256: sha256(BODY) })
  await fetch.send(BODY)
  fetch.end()
}

async function whole (shard: OpenShard): Promise<void> {
  assert.ok((await readAll(shard)).equals(BODY))
  shard.release()
}

suite('a service that sheds misses', () => {
  test('refuses a new miss before anything is asked or reserved, counts it, and takes it again afterwards', async t => {
    const { service, upstream, codes, shed } = await rig(t)
    shed(true)
    await assert.rejects(service.open(MISS), OVERLOADED)
    await assert.rejects(service.open(MISS, { via: ['1.1 icn-relay-b'] }), OVERLOADED)
    assert.deepEqual([upstream.fetches.length, service.fills, codes], [0, 0, ['RELAY_ERR_OVERLOADED', 'RELAY_ERR_OVERLOADED']])
    shed(false)
    const opening = service.open(MISS)
    await deliver(await fetchOf(upstream, 1))
    await whole(await opening)
    await until(() => service.fills === 0)
  })

  test('serves hits, of both kinds, without being asked', async t => {
    const { service, asked, shed } = await rig(t)
    shed(true)
    await whole(await service.open(HIT))
    const pinned = await service.open(HIT, { asFile: true })
    assert.ok(pinned.file?.path !== undefined)
    pinned.release()
    assert.equal(asked(), 0)
  })

  test('lets everybody join a fill that began before', async t => {
    const { service, upstream, shed } = await rig(t)
    const first = service.open(MISS)
    const fetch = await fetchOf(upstream, 1)
    shed(true)
    const later = Array.from({ length: 20 }, async () => await service.open(MISS))
    await deliver(fetch)
    for (const shard of await Promise.all([first, ...later])) await whole(shard)
    assert.equal(upstream.fetches.length, 1)
    await until(() => service.fills === 0)
    await whole(await service.open(MISS))
  })

  test('does not start a second fill for a relay that may not join', async t => {
    const { service, upstream, shed } = await rig(t)
    upstream.onQuestion = () => true
    const first = service.open(MISS)
    const fetch = await fetchOf(upstream, 1)
    shed(true)
    await assert.rejects(service.open(MISS, { via: ['1.1 icn-relay-b'] }), OVERLOADED)
    await deliver(fetch)
    await whole(await first)
    assert.equal(upstream.fetches.length, 1)
    await until(() => service.fills === 0)
  })

  test('a hit whose disk fails in the middle goes on from a super-node', async t => {
    const { service, upstream, faulty, shed } = await rig(t)
    shed(true)
    const shard = await service.open(HIT)
    await shard.read(0, 1_000)
    faulty.decide = (operation, path) => operation === 'read' && path.includes('/hit.') ? 'EIO' : undefined
    const rest = shard.read(1_000, 1_000)
    await deliver(await fetchOf(upstream, 1))
    assert.ok(Buffer.from(await rest).equals(BODY.subarray(1_000, 1_000 + (await rest).length)))
    shard.release()
    await until(() => service.fills === 0)
  })
})
