import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { TestContext } from 'node:test'
import fc from 'fast-check'
import { refused, ViewerRefused } from '../../../src/admission/verdict.ts'
import { wasmDecoder } from '../../../client/src/erasure.ts'
import { ShardClient } from '../../../client/src/index.ts'
import type { Manifest, ShardClientOptions, VideoShard } from '../../../client/src/index.ts'
import { parseManifest } from '../../../client/src/manifest.ts'
import { nodeErasure } from '../../../client/src/node.ts'
import { systemPlatform } from '../../../client/src/platform.ts'
import { transportConnector } from '../../../client/src/transport-session.ts'
import { assembleVideo } from '../../../client/src/video.ts'
import { FakeNetwork, sha256 } from '../../support/client-rig.ts'
import { viewerRig } from '../../support/viewer-rig.ts'
import type { ViewerRig } from '../../support/viewer-rig.ts'

const A = 'https://a.example'
const SIZE = 100_003
const SHARD_SIZE = 10_001
const VIDEO = Uint8Array.from({ length: SIZE }, (_, index) => index * 31 % 253)

const MUL = (() => {
  const exp = new Uint8Array(512)
  const log = new Uint8Array(256)
  for (let power = 0, value = 1; power < 255; power++) {
    exp[power] = exp[power + 255] = value
    log[value] = power
    value = value << 1 ^ (value & 0x80 ? 0x11d : 0)
  }
  return { of: (a: number, b: number) => a === 0 || b === 0 ? 0 : exp[(log[a] ?? 0) + (log[b] ?? 0)] ?? 0, over: (a: number, b: number) => a === 0 ? 0 : exp[(log[a] ?? 0) + 255 - (log[b] ?? 0)] ?? 0 }
})()

/**
 * Parity by interpolation, independent of the package: shard i is the value at i of the polynomial of degree 9 through the
 * data shards, which is what a Vandermonde matrix times the inverse of its top square computes.
 */
function parityOf (data: readonly Uint8Array[], count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, extra) => {
    const x = data.length + extra
    const weights = data.map((_shard, i) => data.reduce((weight, _other, j) => i === j ? weight : MUL.of(weight, MUL.over(x ^ j, i ^ j)), 1))
    return Uint8Array.from(data[0] ?? [], (_byte, at) => data.reduce((sum, shard, i) => sum ^ MUL.of(weights[i] ?? 0, shard[at] ?? 0), 0))
  })
}

function shardsOf (video: Uint8Array): Uint8Array[] {
  const data = Array.from({ length: 10 }, (_, index) => {
    const shard = new Uint8Array(SHARD_SIZE)
    shard.set(video.subarray(index * SHARD_SIZE, (index + 1) * SHARD_SIZE))
    return shard
  })
  return [...data, ...parityOf(data, 4)]
}

const SHARDS = shardsOf(VIDEO)
const MANIFEST = {
  version: 1,
  cid: 'v',
  size: SIZE,
  contentType: 'video/webm',
  dataShards: 10,
  parityShards: 4,
  shardSize: SHARD_SIZE,
  sha256: sha256(VIDEO),
  shards: SHARDS.map((bytes, index) => ({ index, size: bytes.length, sha256: sha256(bytes) })),
  merkleRoot: 'not read here',
  signature: 'not read here'
}

async function rigged (t: TestContext, manifest: object = MANIFEST, options: ShardClientOptions = {}): Promise<{ a: ViewerRig, client: ShardClient, network: FakeNetwork }> {
  const a = await viewerRig(t)
  SHARDS.forEach((bytes, index) => { a.source.objects.set(`v/${index}`, bytes) })
  a.source.objects.set('v/manifest', Buffer.from(JSON.stringify(manifest)))
  const network = new FakeNetwork().add(A, a)
  const client = await ShardClient.connect(A, { platform: network.platform, webTransport: transportConnector(network.dial), erasure: nodeErasure, ...options })
  t.after(() => client.close())
  return { a, client, network }
}

suite('whole videos', () => {
  test('the code is the one the super-nodes use', () => {
    assert.deepEqual(parityOf(Array.from({ length: 10 }, (_, index) => Uint8Array.of(index + 1)), 4).map(([byte]) => byte), [69, 242, 18, 118])
  })

  test('a token that the relay refuses ends the video immediately, with that error: no other shard will do better', async t => {
    for (const code of ['RELAY_ERR_VIEWER_TOKEN_EXPIRED', 'RELAY_ERR_VIEWER_SCOPE'] as const) {
      const { a, client } = await rigged(t)
      const asked: string[] = []
      a.source.resolve = async ({ part }) => {
        asked.push(String(part))
        throw new ViewerRefused(refused(code, 'no'))
      }
      await assert.rejects(client.fetchVideo('v', { manifest: parseManifest(Buffer.from(JSON.stringify(MANIFEST)), 'v') }), { name: 'ShardClientError', code, unauthorized: true })
      assert.ok(asked.length <= 10 && asked.every(part => Number(part) < 10), asked.join())
    }
  })

  test('the data shards make the video; no parity is fetched and no decoder loaded', async t => {
    const { a, client } = await rigged(t, MANIFEST, { erasure: () => { throw new Error('not needed') } })
    const seen: number[] = []
    const video = await client.fetchVideo('v', {
      onShard: ({ index, repaired, result }) => {
        seen.push(index)
        assert.deepEqual([repaired, result?.verified], [false, true])
      }
    })
    assert.ok(Buffer.from(video.bytes).equals(VIDEO))
    assert.deepEqual([video.verified, video.repaired, video.failures], [true, [], []])
    assert.deepEqual(seen.sort((x, y) => x - y), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    assert.equal(a.source.lent, 11)
  })

  test('up to four missing or damaged shards are repaired, whichever they are', async t => {
    for (const missing of [[0, 3, 7, 9], [0], [9, 10, 12], [1, 2, 10, 13]]) {
      const { a, client } = await rigged(t)
      for (const [turn, index] of missing.entries()) {
        if (turn % 2 === 0) a.source.objects.delete(`v/${index}`)
        else a.source.objects.set(`v/${index}`, Uint8Array.from(SHARDS[index] ?? [], (byte, at) => at === 5 ? byte ^ 1 : byte))
      }
      const shards: VideoShard[] = []
      const video = await client.fetchVideo('v', { onShard: shard => { shards.push(shard) } })
      assert.ok(Buffer.from(video.bytes).equals(VIDEO), missing.join())
      const data = missing.filter(index => index < 10)
      assert.deepEqual(video.repaired, data)
      assert.deepEqual(shards.filter(({ repaired }) => repaired).map(({ index, bytes }) => [index, sha256(bytes)]), data.map(index => [index, MANIFEST.shards[index]?.sha256]))
    }
  })

  test('a manifest at hand is not fetched again; each shard that cannot be fetched is told as it fails', async t => {
    const { a, client } = await rigged(t)
    a.source.objects.delete('v/2')
    a.source.objects.delete('v/10')
    const manifest = await client.fetchManifest('v')
    const before = a.source.lent
    const failed: Array<[number, unknown]> = []
    const video = await client.fetchVideo('v', { manifest, onFailure: (index, error) => { failed.push([index, (error as { code?: unknown }).code]) } })
    assert.deepEqual([video.verified, video.repaired], [true, [2]])
    assert.deepEqual(failed, [[2, 'RELAY_ERR_SHARD_NOT_FOUND'], [10, 'RELAY_ERR_SHARD_NOT_FOUND']])
    assert.equal(a.source.lent - before, 10)
    await assert.rejects(client.fetchVideo('w', { manifest }), { name: 'ShardClientError', fault: 'manifest' })
  })

  test('five missing shards are an error that names them', async t => {
    const { a, client } = await rigged(t)
    for (const index of [0, 2, 4, 11, 13]) a.source.objects.delete(`v/${index}`)
    await assert.rejects(client.fetchVideo('v'), { name: 'ShardClientError', fault: 'missing', message: /^5 shards are missing: .*13 \(/ })
  })

  test('missing shards are named in the order of their index, whichever failed first', async t => {
    const failing = new Map<number, (error: Error) => void>()
    const video = assembleVideo({
      manifest: parseManifest(Buffer.from(JSON.stringify(MANIFEST)), 'v'),
      signal: t.signal,
      onShard: undefined,
      fetch: ({ index }) => new Promise((_resolve, reject) => { failing.set(index, reject) }),
      erasure: undefined,
      platform: systemPlatform()
    })
    for (const index of [3, 0, 7, 9, 1]) failing.get(index)?.(new Error('gone'))
    await assert.rejects(video, { fault: 'missing', message: '5 shards are missing: 0 (gone), 1 (gone), 3 (gone), 7 (gone), 9 (gone)' })
  })

  test('without a decoder a missing shard is an error; a decoder that failed to load is loaded again', async t => {
    const { erasure, ...none } = { erasure: nodeErasure }
    const a = await viewerRig(t)
    SHARDS.forEach((bytes, index) => { if (index !== 3) a.source.objects.set(`v/${index}`, bytes) })
    a.source.objects.set('v/manifest', Buffer.from(JSON.stringify(MANIFEST)))
    const network = new FakeNetwork().add(A, a)
    const options = { platform: network.platform, webTransport: transportConnector(network.dial) }
    const plain = await ShardClient.connect(A, { ...options, ...none })
    await assert.rejects(plain.fetchVideo('v'), { fault: 'missing', message: /shards 3 are missing and no erasure decoder/ })
    plain.close()
    let loads = 0
    const client = await ShardClient.connect(A, {
      ...options,
      erasure: async () => {
        if (++loads === 1) throw new Error('offline')
        return await erasure()
      }
    })
    await assert.rejects(client.fetchVideo('v'), { message: 'offline' })
    assert.deepEqual((await client.fetchVideo('v')).repaired, [3])
    await client.fetchVideo('v')
    assert.equal(loads, 2)
    client.close()
  })

  test('shards that do not make the video of the manifest are refused', async t => {
    const { client } = await rigged(t, { ...MANIFEST, sha256: 'ab'.repeat(32) })
    await assert.rejects(client.fetchVideo('v'), { fault: 'digest', message: /the video/ })
    const wrong = await rigged(t, { ...MANIFEST, shards: MANIFEST.shards.map(shard => shard.index === 3 ? { ...shard, sha256: 'cd'.repeat(32) } : shard) })
    await assert.rejects(wrong.client.fetchVideo('v'), { fault: 'digest', message: /repaired shard 3/ })
  })

  test('an abort ends all of it', async t => {
    const { a, client } = await rigged(t)
    const abort = new AbortController()
    await assert.rejects(client.fetchVideo('v', { signal: abort.signal, onShard: () => { abort.abort(new Error('stop')) } }), { message: 'stop' })
    while (a.source.held > 0) await new Promise(resolve => setImmediate(resolve))
  })

  test('data shards are fetched when the player wants them, parity shards as soon as they are needed', async t => {
    const { a, client } = await rigged(t)
    a.source.objects.delete('v/1')
    const wanted = new Map<number, () => void>()
    const seen: number[] = []
    const failed: number[] = []
    const video = client.fetchVideo('v', {
      whenToFetch: async index => { await new Promise<void>(resolve => { wanted.set(index, resolve) }) },
      onShard: ({ index }) => { seen.push(index) },
      onFailure: index => { failed.push(index) }
    })
    while (wanted.size < 10) await new Promise(resolve => setImmediate(resolve))
    assert.deepEqual([...wanted.keys()], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    for (const [index, fetch] of wanted) {
      const before = seen.length
      fetch()
      while (seen.length === before) await new Promise(resolve => setImmediate(resolve))
      assert.equal(seen.at(-1), index === 1 ? 10 : index)
    }
    assert.ok(Buffer.from((await video).bytes).equals(VIDEO))
    assert.deepEqual(failed, [1])
  })

  test('an abort ends the wait for a player that wants nothing', async t => {
    const { a, client } = await rigged(t)
    const abort = new AbortController()
    const video = assert.rejects(client.fetchVideo('v', { signal: abort.signal, whenToFetch: () => new Promise(() => {}) }), { message: 'stop' })
    while (a.source.lent === 0) await new Promise(resolve => setImmediate(resolve))
    abort.abort(new Error('stop'))
    await video
    assert.equal(a.source.lent, 1, 'the manifest and nothing else')
  })

  test('a video beyond the limit is not put together', async t => {
    const { client } = await rigged(t, MANIFEST, { maxVideoBytes: 1000 })
    await assert.rejects(client.fetchVideo('v'), { fault: 'manifest' })
  })

  test('decoding in slices gives what decoding in one go gives', async () => {
    const { ReedSolomonErasure } = await import('@digitaldefiance/reed-solomon-erasure.wasm')
    const { readFile } = await import('node:fs/promises')
    const { createRequire } = await import('node:module')
    const wasm = await readFile(createRequire(import.meta.url).resolve('@digitaldefiance/reed-solomon-erasure.wasm/wasm'))
    let pauses = 0
    for (const slice of [999, 10_000, 10_001, 50_000]) {
      const decoder = wasmDecoder(() => ReedSolomonErasure.fromBytes(wasm), async () => { pauses++ }, slice)
      const data = await decoder.reconstruct(SHARDS.map((shard, index) => [1, 4, 8, 9].includes(index) ? undefined : shard), 10, 4)
      assert.ok(data.every((shard, index) => Buffer.from(shard).equals(SHARDS[index] ?? Buffer.alloc(0))), String(slice))
    }
    assert.equal(pauses, 11 + 2 + 1 + 1)
  })
})

suite('manifest', () => {
  const read = (value: unknown): Manifest => parseManifest(Buffer.from(JSON.stringify(value)), 'v')

  test('what is read is what was sent, in order of the indices', () => {
    const manifest = read({ ...MANIFEST, shards: [...MANIFEST.shards].reverse() })
    assert.deepEqual(manifest.shards, MANIFEST.shards)
    assert.equal(manifest.sha256, MANIFEST.sha256)
  })

  test('inconsistent manifests are refused', () => {
    const shard = (change: object): object => ({ ...MANIFEST, shards: MANIFEST.shards.map(each => each.index === 2 ? { ...each, ...change } : each) })
    for (const bad of [null, [], {}, { ...MANIFEST, version: 2 }, { ...MANIFEST, cid: 'w' }, { ...MANIFEST, dataShards: 9 }, { ...MANIFEST, size: SHARD_SIZE * 10 + 1 }, { ...MANIFEST, size: -1 },
      { ...MANIFEST, size: 1.5 }, { ...MANIFEST, sha256: 'x' }, { ...MANIFEST, shards: MANIFEST.shards.slice(1) }, shard({ index: 3 }), shard({ index: 14 }), shard({ size: SHARD_SIZE + 1 }), shard({ sha256: 1 }), shard({ index: '2' })]) {
      assert.throws(() => read(bad), { name: 'ShardClientError', fault: 'manifest' })
    }
    assert.throws(() => parseManifest(Uint8Array.of(0xff, 0xfe), 'v'), { fault: 'manifest' })
  })

  test('any JSON is read or refused', () => {
    fc.assert(fc.property(fc.json(), json => {
      assert.throws(() => parseManifest(Buffer.from(json), 'v'), { fault: 'manifest' })
    }))
  })
})
