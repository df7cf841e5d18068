import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { RelayError } from '../../../../src/base/errors.ts'
import { ShardService } from '../../../../src/plugins/shards/shard-service.ts'
import type { ShardKey } from '../../../../src/protocol/shard-key.ts'
import { sha256 } from '../../../../tools/harness/store-bytes.ts'
import { ScriptedUpstream, type ScriptedFetch } from '../../../fakes/upstream.ts'
import { bytesOf, openTestCache, readAll, until } from '../../../support/cache.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'

const KEY: ShardKey = { cid: 'tiers', part: 4 }
const BODY = bytesOf('tiers', 2_000)
const PEER = ['1.1 icn-relay-b']
const LOOP = new RelayError('RELAY_ERR_LOOP', 'circle')

async function setUp (t: TestContext): Promise<{ service: ShardService, upstream: ScriptedUpstream, opens: (via?: readonly string[]) => Promise<Buffer>, fetchOf: (count: number) => Promise<ScriptedFetch>, atRest: () => Promise<void> }> {
  const { cache } = await openTestCache(t, await temporaryDirectory(t), { maxBytes: 1_000_000, passThroughBytes: 1_000_000, ramBytes: 0 })
  const upstream = new ScriptedUpstream()
  const service = new ShardService({ cache, upstream, observer: { opened: () => {}, openFailed: () => {} }, maxObjectBytes: 100_000, maxManifestBytes: 1_000, maxFills: 10, fillTimeoutMs: 60_000 })
  const opens = async (via?: readonly string[]): Promise<Buffer> => {
    const shard = await service.open(KEY, via === undefined ? {} : { via })
    try {
      return await readAll(shard)
    } finally {
      shard.release()
    }
  }
  const fetchOf = async (count: number): Promise<ScriptedFetch> => {
    await until(() => upstream.fetches.length >= count)
    const fetch = upstream.fetches[count - 1]
    assert.ok(fetch)
    return fetch
  }
  const atRest = async (): Promise<void> => { await until(() => service.fills === 0 && cache.disk.openFiles === 0 && cache.disk.reservedBytes === 0) }
  return { service, upstream, opens, fetchOf, atRest }
}

async function deliver (fetch: ScriptedFetch): Promise<void> {
  fetch.answer({ size: BODY.length, sha256: sha256(BODY) })
  await fetch.send(BODY)
  fetch.end()
}

test('the way of the first request goes upstream; others join its fill, relays too while there are no siblings', async t => {
  const { upstream, opens, fetchOf, atRest } = await setUp(t)
  const all = [opens(['1.1 nginx']), opens(), opens(PEER)]
  await deliver(await fetchOf(1))
  for (const body of await Promise.all(all)) assert.ok(body.equals(BODY))
  assert.deepEqual(upstream.fetches.map(({ via }) => via), [['1.1 nginx']])
  await atRest()
})

test('two relays that ask each other at the same time do not wait for each other: who is waited for goes its own way, the others join', async t => {
  const { service, upstream, opens, fetchOf, atRest } = await setUp(t)
  const other = ['1.1 icn-relay-c']
  upstream.onQuestion = via => via === PEER
  const viewer = opens()
  const waiting = await fetchOf(1)
  const joined = opens(other)
  const circling = [opens(PEER), opens(PEER)]
  const own = await fetchOf(2)
  assert.deepEqual(own.via, PEER)
  await deliver(own)
  for (const body of await Promise.all(circling)) assert.ok(body.equals(BODY))
  assert.equal(upstream.fetches.length, 2, 'who comes the same way shares it')
  await until(() => service.fills === 1)
  await deliver(waiting)
  for (const body of await Promise.all([viewer, joined])) assert.ok(body.equals(BODY))
  assert.deepEqual(upstream.questions, [other, PEER, PEER])
  await atRest()
})

test('an answer that comes while it is not known whether a request goes in circles is taken', async t => {
  const { upstream, opens, fetchOf, atRest } = await setUp(t)
  upstream.onQuestion = async () => await new Promise<boolean>(() => {})
  const bodies = [opens(), opens(PEER)]
  const fetch = await fetchOf(1)
  await until(() => upstream.questions.length === 1)
  await deliver(fetch)
  for (const body of await Promise.all(bodies)) assert.ok(body.equals(BODY))
  assert.equal(upstream.fetches.length, 1)
  await atRest()
})

test('nobody asks about circles for a viewer, for who came the way of the fill, or once there is an answer', async t => {
  const { service, upstream, opens, fetchOf, atRest } = await setUp(t)
  upstream.onQuestion = () => true
  const bodies = [opens(PEER), opens(PEER), opens(['1.1 nginx']), opens()]
  const first = await fetchOf(1)
  first.answer({ size: BODY.length, sha256: sha256(BODY) })
  // A further viewer is told the head, so the answer is there.
  const told = await service.open(KEY)
  told.release()
  const late = opens(['1.1 icn-relay-c'])
  await first.send(BODY)
  first.end()
  for (const body of await Promise.all([...bodies, late])) assert.ok(body.equals(BODY))
  assert.deepEqual([upstream.fetches.length, upstream.questions.length], [1, 0])
  await atRest()
})

test('a circle on the way of one request fails those who came the same way, and the others ask again by theirs', async t => {
  const { upstream, opens, fetchOf, atRest } = await setUp(t)
  const forged = [opens(PEER), opens(PEER)]
  const first = await fetchOf(1)
  const honest = opens()
  const refused = Promise.all(forged.map(async open => { await assert.rejects(open, { code: 'RELAY_ERR_LOOP' }) }))
  // The honest one has joined by the time the cache has been asked.
  await new Promise(resolve => { setImmediate(resolve) })
  first.refuse(LOOP)
  await refused
  const second = await fetchOf(2)
  assert.deepEqual(second.via, [])
  await deliver(second)
  assert.ok((await honest).equals(BODY))
  assert.equal(upstream.fetches.length, 2)
  await atRest()
})

test('a request whose every way is a circle ends with 508', async t => {
  const { upstream, opens, atRest } = await setUp(t)
  upstream.onFetch = fetch => { fetch.refuse(LOOP) }
  await Promise.all(Array.from({ length: 20 }, async (_, n) => { await assert.rejects(opens([`1.1 icn-relay-${n}`]), { code: 'RELAY_ERR_LOOP' }) }))
  assert.ok(upstream.fetches.length <= 20)
  await atRest()
})
