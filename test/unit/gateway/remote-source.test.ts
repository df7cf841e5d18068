import assert from 'node:assert/strict'
import { truncate, unlink, writeFile } from 'node:fs/promises'
import test, { type TestContext } from 'node:test'
import { startSuperNode, syntheticShard, type Faults, type SuperNode } from '../../../demo/super-node/server.ts'
import type { Relay } from '../../../src/app.ts'
import { RelayError } from '../../../src/base/errors.ts'
import { keyId, type ShardKey } from '../../../src/protocol/shard-key.ts'
import { until } from '../../../tools/harness/http.ts'
import { startRelay } from '../../../tools/harness/relay.ts'
import { Channel, FakeShards, GrowingObject, readThrough } from '../../support/gateway-rig.ts'
import { flipBit } from '../../support/rot.ts'

const SIZE = 600_000
const never = new AbortController().signal

interface Setup {
  readonly relay: Relay
  readonly origin: SuperNode
  readonly channel: Channel
  read (key: ShardKey, chunkBytes?: number, onChunk?: (position: number) => void): Promise<Buffer>
  /** Stores an object before it is asked for. */
  store (key: ShardKey): Promise<string>
}

async function setup (t: TestContext, faults: Faults = {}, options: ConstructorParameters<typeof Channel>[1] = {}, settings: Record<string, Record<string, unknown>> = {}): Promise<Setup> {
  const origin = await startSuperNode({ port: 0, faults })
  t.after(async () => { await origin.close() })
  // The scrub reads files too, and holds their entries meanwhile.
  const { relay } = await startRelay(t, [{ url: origin.url, region: origin.region }], { transport: { engine: 'off' }, scrub: { bytes_per_second: 0 }, ...settings })
  const { shards, shardCache } = relay.admin
  const channel = new Channel(shards, options)
  const read: Setup['read'] = async (key, chunkBytes, onChunk) => await readThrough(channel.source, key, never, chunkBytes, onChunk)
  return {
    relay,
    origin,
    channel,
    read,
    store: async key => {
      const shard = await shards.open(key)
      for (let position = 0; position < shard.size;) position += (await shard.read(position, SIZE)).length
      shard.release()
      await until(async () => shards.fills, fills => fills === 0)
      const entry = shardCache.disk.peek(keyId(key))
      assert.ok(entry)
      return shardCache.disk.fileOf(entry)
    }
  }
}

const key = (label: string, part = 0): ShardKey => ({ cid: `syn-${SIZE}-${label}`, part })
const bytesOf = ({ cid, part }: ShardKey): Buffer => syntheticShard(cid, Number(part))

/** Nothing is lent, open or waiting on either side. */
async function assertIdle ({ channel, relay }: Setup): Promise<void> {
  await until(async () => relay.admin.shardCache.disk.openFiles + (channel.source.sizes()['source.openFiles'] ?? 0) + relay.admin.shards.fills + channel.requests.leases, open => open === 0)
  // News of a lease that is gone leaves with the next message, a few milliseconds later.
  await until(async () => {
    channel.deliver('gateway', 1)
    channel.deliver('relay', 1)
    const { 'source.leases': leases, 'source.resolving': resolving, 'source.reading': reading } = channel.source.sizes()
    return [...Object.values(channel.requests.sizes()), leases, resolving, reading]
  }, sizes => sizes.every(size => size === 0))
  for (const entry of relay.admin.shardCache.disk.firstOut()) assert.equal(entry.leases, 0)
  assert.equal(relay.admin.shardCache.disk.condemnedBytes, 0)
}

test('a cached object is read from its file: none of its bytes cross the channel', async t => {
  const rig = await setup(t)
  await rig.store(key('hit'))
  assert.deepEqual(await rig.read(key('hit')), bytesOf(key('hit')))
  assert.equal(rig.channel.bytes, 0)
  await assertIdle(rig)
})

test('an object asked for twice is kept in memory, and a damaged file is not', async t => {
  const rig = await setup(t, {}, { ramBytes: 16 * SIZE })
  await rig.store(key('hot'))
  const damaged = await rig.store(key('damaged'))
  const wrong = bytesOf(key('damaged'))
  wrong[SIZE - 1] = (wrong[SIZE - 1] ?? 0) ^ 1
  await writeFile(damaged, wrong)
  for (let time = 0; time < 3; time++) {
    await rig.read(key('damaged'))
    await rig.read(key('hot'))
  }
  await until(async () => rig.channel.source.sizes()['source.ramBytes'], bytes => bytes === SIZE)
  // What is in memory needs no file any more.
  const path = await rig.store(key('hot'))
  await unlink(path)
  assert.deepEqual(await rig.read(key('hot')), bytesOf(key('hot')))
  assert.equal(rig.channel.bytes, 0)
  await assertIdle(rig)
  assert.equal(rig.channel.source.sizes()['source.ramBytes'], SIZE)
})

test('while copies to memory are not allowed, objects are read from their files', async t => {
  const rig = await setup(t, {}, { ramBytes: 16 * SIZE })
  await rig.store(key('cool'))
  rig.channel.source.loadsAllowed = false
  for (let time = 0; time < 4; time++) assert.deepEqual(await rig.read(key('cool')), bytesOf(key('cool')))
  await assertIdle(rig)
  assert.equal(rig.channel.source.sizes()['source.ramBytes'], 0)
  rig.channel.source.loadsAllowed = true
  await rig.read(key('cool'))
  await until(async () => rig.channel.source.sizes()['source.ramBytes'], bytes => bytes === SIZE)
})

test('a refusal crosses the channel with the time after which to ask again', async t => {
  const rig = await setup(t)
  rig.relay.admin.overload.setOverride('shedding', 0)
  await assert.rejects(rig.read(key('refused')), (error: unknown) => error instanceof RelayError && error.code === 'RELAY_ERR_OVERLOADED' && (error.retryAfterSeconds ?? 0) >= 3)
  await assertIdle(rig)
})

test('a fill is followed while its file grows, long before it is complete', { timeout: 240_000 }, async t => {
  const rig = await setup(t, { bytesPerSecond: 1_500_000 })
  let early = 0
  const body = await rig.read(key('grow'), 20_000, () => { if (rig.relay.admin.shards.fills > 0) early++ })
  assert.deepEqual(body, bytesOf(key('grow')))
  assert.ok(early >= 3, `${early} chunks came while the object was being fetched`)
  assert.ok((rig.channel.seen['progress'] ?? 0) > 1)
  await assertIdle(rig)
})

test('a range of a body found bad never ends as a whole one, from the file and through the relay', { timeout: 240_000 }, async t => {
  for (const full of [false, true]) {
    const rig = await setup(t, {}, {}, { cache: { max_bytes: 1_000_000 }, upstream: { max_object_bytes: 700_000 } })
    await rig.store(key('held'))
    // A full cache of which nothing may be evicted: the object passes through the memory of the relay.
    const held = full ? await rig.relay.admin.shards.open(key('held')) : undefined
    rig.origin.setFaults({ corrupt: true })
    const lease = await rig.channel.source.resolve(key('bad'), { range: { kind: 'from', first: 100_000, last: 399_999 }, signal: never })
    let position = 100_000
    await assert.rejects(async () => {
      while (position < 400_000) position += (await lease.body.read(position, Math.min(64_000, 400_000 - position))).length
    }, { code: 'RELAY_ERR_UPSTREAM_CORRUPT' })
    assert.ok(position < 400_000)
    lease.release()
    assert.equal(rig.channel.bytes > 0, full)
    rig.origin.setFaults({})
    const right = await rig.channel.source.resolve(key('good'), { range: { kind: 'from', first: 100_000, last: 399_999 }, signal: never })
    const pieces: Buffer[] = []
    for (let at = 100_000; at < 400_000; at += pieces.at(-1)?.length ?? 0) pieces.push(Buffer.from(await right.body.read(at, Math.min(64_000, 400_000 - at))))
    assert.deepEqual(Buffer.concat(pieces), bytesOf(key('good')).subarray(100_000, 400_000))
    right.release()
    held?.release()
    await assertIdle(rig)
  }
})

test('many viewers of one fill: one fetch, right bytes for all, and those who leave leave nothing behind', { timeout: 240_000 }, async t => {
  const rig = await setup(t, { bytesPerSecond: 3_000_000 })
  const viewers = Array.from({ length: 60 }, (_, viewer) => {
    const abort = new AbortController()
    const done = readThrough(rig.channel.source, key('many'), abort.signal, 10_000, position => {
      if (viewer % 3 === 0 && position > viewer * 8_000) abort.abort()
    })
    return done.then(body => { assert.deepEqual(body, bytesOf(key('many'))) }, error => { assert.ok(abort.signal.aborted, String(error)) })
  })
  await Promise.all(viewers)
  assert.equal(rig.origin.stats().requests, 1)
  await assertIdle(rig)
})

test('a file that is missing costs the viewer nothing: the relay drops the entry and fetches it again', async t => {
  const rig = await setup(t)
  await unlink(await rig.store(key('gone')))
  assert.deepEqual(await rig.read(key('gone')), bytesOf(key('gone')))
  assert.ok(rig.channel.bytes >= SIZE)
  await assertIdle(rig)
})

test('a file that ends early is read as far as it goes, and the rest comes from a super-node', async t => {
  const rig = await setup(t)
  await truncate(await rig.store(key('short')), 250_000)
  assert.deepEqual(await rig.read(key('short')), bytesOf(key('short')))
  assert.ok(rig.channel.bytes >= SIZE - 250_000 && rig.channel.bytes < SIZE, `${rig.channel.bytes}`)
  await assertIdle(rig)
})

test('a fill that was stored before its file could be opened is read from the file it became', async t => {
  const rig = await setup(t, {}, { prompt: false })
  const reading = rig.read(key('renamed'), 50_000)
  let finished = false
  void reading.finally(() => { finished = true }).catch(() => {})
  rig.channel.deliver('relay', 1)
  await until(async () => rig.channel.waiting, waiting => waiting > 0)
  // The answer waits in the channel until the object has its final name.
  await until(async () => rig.relay.admin.shards.fills, fills => fills === 0)
  while (!finished || rig.channel.waiting > 0) {
    rig.channel.deliver('gateway', 1)
    rig.channel.deliver('relay', 1)
    await new Promise(resolve => { setImmediate(resolve) })
  }
  assert.deepEqual(await reading, bytesOf(key('renamed')))
  assert.equal(rig.channel.bytes, 50_000)
  await assertIdle(rig)
})

test('purge and eviction in the middle of a read take nothing from the reader', async t => {
  const rig = await setup(t, {}, {}, { cache: { max_bytes: 1_600_000 }, upstream: { max_object_bytes: 700_000 } })
  for (const remove of ['purge', 'evict'] as const) {
    await rig.store(key(remove))
    let removed = false
    const body = await rig.read(key(remove), 50_000, position => {
      if (position < 100_000 || removed) return
      removed = true
      if (remove === 'purge') assert.ok(rig.relay.admin.shardCache.purge(key(remove)))
      else rig.relay.admin.shardCache.disk.resize(1)
    })
    assert.deepEqual(body, bytesOf(key(remove)))
    // A leased object is never evicted; it goes as soon as it is given back.
    await until(async () => rig.relay.admin.shardCache.details(key(remove)), entry => entry === undefined)
  }
  await assertIdle(rig)
})

test('progress that follows the answer in the same turn is not lost', { timeout: 240_000 }, async () => {
  const shards = new FakeShards()
  const object = new GrowingObject(Buffer.alloc(1_000, 7), undefined)
  shards.objects.set('a', object)
  const channel = new Channel(shards, { prompt: false })
  const lease = channel.source.resolve({ cid: 'a', part: 0 }, { range: undefined, signal: never })
  // As one read of the channel brings them: no microtask runs in between.
  channel.source.take({ type: 'resolved', id: 0, info: { lease: 5, size: 1_000, sha256: undefined, verified: true, lasting: true, origin: { hit: true, tier: 'disk', storedAt: 0 }, file: { path: import.meta.filename, readable: 0, whole: false, byBlocks: false } } })
  channel.source.take({ type: 'progress', leases: [[5, 1_000]] })
  const held = await lease
  assert.equal((await held.body.read(0, 1_000)).length, 1_000)
  held.release()
})

test('more questions than the channel may carry are refused immediately, and room comes back with every answer', async () => {
  const channel = new Channel(new FakeShards(), { prompt: false })
  const asked = Array.from({ length: 8_192 }, (_, count) => {
    const abort = new AbortController()
    const done = channel.source.resolve({ cid: `c${count}`, part: 0 }, { range: undefined, signal: abort.signal }).catch((error: unknown) => error)
    return { abort, done }
  })
  const refused = (error: unknown): boolean => error instanceof RelayError && error.code === 'RELAY_ERR_FILLS_BUSY'
  await assert.rejects(channel.source.resolve({ cid: 'x', part: 0 }, { range: undefined, signal: never }), refused)
  asked[0]?.abort.abort()
  const again = channel.source.resolve({ cid: 'x', part: 0 }, { range: undefined, signal: never }).catch((error: unknown) => error)
  assert.equal(channel.source.sizes()['source.resolving'], 8_192)
  for (const { abort } of asked) abort.abort()
  await Promise.all(asked.map(async ({ done }) => { await done }))
  channel.deliver('relay', 100_000)
  await new Promise(resolve => { setImmediate(resolve) })
  channel.deliver('gateway', 100_000)
  assert.ok(await again instanceof RelayError)
  assert.equal(channel.source.sizes()['source.resolving'], 0)
})

test('verified always: a bit that flips in the file of a lease is seen here, the relay evicts it and sends the right bytes; then the file is whole again', async t => {
  const rig = await setup(t, {}, {}, { cache: { verify_reads: 'always', ram_bytes: 0 } })
  const file = await rig.store(key('rots'))
  assert.deepEqual(await rig.read(key('rots'), 100_000), bytesOf(key('rots')))
  assert.equal(rig.channel.bytes, 0)
  let flipped: Promise<void> | undefined
  assert.deepEqual(await rig.read(key('rots'), 100_000, position => {
    if (position >= 200_000) flipped ??= flipBit(file, SIZE - 1)
  }), bytesOf(key('rots')))
  await flipped
  assert.deepEqual(await rig.read(key('rots')), bytesOf(key('rots')))
  assert.equal(await metricOf(rig.relay, 'icn_relay_cache_rot_total{finder="read"}'), 1)
  await assertIdle(rig)
  assert.notEqual(await rig.store(key('rots')), file)
})

async function metricOf (relay: Relay, series: string): Promise<number> {
  const line = (await relay.admin.relayMetrics.text()).split('\n').find(text => text.startsWith(`${series} `))
  return Number(line?.split(' ').at(-1))
}
