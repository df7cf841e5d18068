import assert from 'node:assert/strict'
import { suite, test, type TestContext } from 'node:test'
import { ShardService } from '../../../../src/plugins/shards/shard-service.ts'
import { RelayError } from '../../../../src/base/errors.ts'
import { keyId, type ShardKey } from '../../../../src/protocol/shard-key.ts'
import { sha256, storeBytes } from '../../../../tools/harness/store-bytes.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'
import { ScriptedUpstream } from '../../../fakes/upstream.ts'
import { bytesOf, openTestCache, readAll, until } from '../../../support/cache.ts'

const KEY: ShardKey = { cid: 'ahead', part: 4 }
const BODY = bytesOf('ahead', 2_000)
const HEAD = { size: BODY.length, sha256: sha256(BODY) }

async function setUp (t: TestContext, refuseMiss?: () => RelayError | undefined) {
  const { cache } = await openTestCache(t, await temporaryDirectory(t), {})
  const upstream = new ScriptedUpstream()
  const opened: string[] = []
  const service = new ShardService({ cache, upstream, observer: { opened: () => { opened.push('counted') }, openFailed: () => {} }, maxObjectBytes: 1_000_000, maxManifestBytes: 1_000, maxFills: 100, fillTimeoutMs: 60_000, refuseMiss })
  service.onOpened((key, { origin, size }, next) => { opened.push(`${keyId(key)} ${size} ${origin.hit ? 'hit' : origin.collapsed ? 'joined' : 'miss'} ${next.map(keyId).join()}`) })
  t.after(async () => { await service.close() })
  await cache.reconciled
  return { service, cache, upstream, opened }
}

suite('what is brought in ahead', () => {
  test('is fetched once, for nobody; who asks for it joins, and from then on it is fetched for somebody', async t => {
    const { service, cache, upstream, opened } = await setUp(t)
    const quiet = service.bringIn(KEY)
    assert.ok(quiet)
    assert.equal(service.bringIn(KEY), undefined)
    const [fetch] = upstream.fetches
    assert.ok(fetch)
    assert.equal(fetch.wanted(), false)
    assert.equal(service.unwantedFills, 1)
    const asking = service.open(KEY, { next: [{ cid: 'ahead', part: 5 }] })
    await until(() => fetch.wanted())
    quiet.giveUp()
    fetch.answer(HEAD)
    const shard = await asking
    await fetch.send(BODY)
    fetch.end()
    assert.deepEqual(await readAll(shard), BODY)
    shard.release()
    await quiet.finished
    assert.equal((await quiet.head).size, BODY.length)
    assert.equal(upstream.fetches.length, 1)
    assert.ok(cache.has(KEY))
    assert.equal(service.bringIn(KEY), undefined)
    // The relay's own use is not a request.
    assert.deepEqual(opened, ['counted', 'ahead/4 2000 joined ahead/5'])
  })

  test('can be given up while nobody waits, and who asks after that starts anew', async t => {
    const { service, upstream } = await setUp(t)
    const quiet = service.bringIn(KEY)
    quiet?.giveUp()
    const asking = service.open(KEY)
    await until(() => upstream.fetches.length === 2)
    await assert.rejects(quiet?.head ?? Promise.resolve(), { code: 'RELAY_ERR_OVERLOADED' })
    upstream.fetches[1]?.answer(HEAD)
    const shard = await asking
    await upstream.fetches[1]?.send(BODY)
    upstream.fetches[1]?.end()
    assert.deepEqual(await readAll(shard), BODY)
    shard.release()
  })

  test('is a miss that load may refuse; requests of other relays tell nobody', async t => {
    const refusal = new RelayError('RELAY_ERR_OVERLOADED', 'no')
    const { service, cache, opened } = await setUp(t, () => refusal)
    assert.throws(() => service.bringIn(KEY), refusal)
    await storeBytes(cache, KEY, BODY)
    for (const via of [[], ['1.1 proxy'], ['1.1 icn-relay-below']]) (await service.open(KEY, { via })).release()
    assert.deepEqual(opened.filter(line => line !== 'counted'), ['ahead/4 2000 hit ', 'ahead/4 2000 hit '])
  })
})
