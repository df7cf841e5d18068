import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { suite, test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { blockRange } from '../../../client/src/block-range.ts'
import { ShardClientError } from '../../../client/src/client-error.ts'
import { fetchObject } from '../../../client/src/fetch-object.ts'
import type { ClientRange, FetchRequest, ObjectResult } from '../../../client/src/fetch-object.ts'
import { ShardClient } from '../../../client/src/index.ts'
import type { ShardClientOptions } from '../../../client/src/index.ts'
import { parseManifest, type Manifest } from '../../../client/src/manifest.ts'
import { PooledSession } from '../../../client/src/pooled-session.ts'
import type { RelayRequest, RelayResponse } from '../../../client/src/relay-connection.ts'
import type { Sessions } from '../../../client/src/shared-body.ts'
import { transportConnector } from '../../../client/src/transport-session.ts'
import { BLOCK_SIZES, blockCount } from '../../../src/protocol/manifest-blocks.ts'
import { formatReprDigest } from '../../../src/protocol/repr-digest.ts'
import { FakeNetwork, sha256 } from '../../support/client-rig.ts'
import { viewerRig } from '../../support/viewer-rig.ts'
import type { ViewerRig } from '../../support/viewer-rig.ts'

const CID = 'QmBlocks'
const INDEX = 3
const { platform } = new FakeNetwork()

const shardOf = (size: number): Buffer => Buffer.from(Uint8Array.from({ length: size }, (_, at) => (at * 31 + (at >> 8)) % 251))

function blocksOf (shard: Uint8Array, blockSize: number): string {
  return Buffer.concat(Array.from({ length: blockCount(shard.length, blockSize) }, (_, block) => createHash('sha256').update(shard.subarray(block * blockSize, (block + 1) * blockSize)).digest())).toString('base64')
}

/** As a super-node serves it; the other shards are as large. */
function manifestOf (shard: Uint8Array, blockSize: number | undefined): Manifest {
  const hash = sha256(shard)
  const entry = { size: shard.length, sha256: hash, ...blockSize === undefined ? {} : { blocks: blocksOf(shard, blockSize) } }
  const body = { version: 1, cid: CID, size: shard.length, contentType: 'video/mp4', dataShards: 10, parityShards: 4, shardSize: shard.length, sha256: hash, blockSize, shards: Array.from({ length: 14 }, (_, index) => ({ index, ...entry })) }
  return parseManifest(Buffer.from(JSON.stringify(body)), CID)
}

interface Server {
  /** What it sends. */
  readonly bytes: Uint8Array
  /** What it says that it is of, besides its hash. */
  readonly stated?: string
  readonly ignoresRange?: boolean
  /** Breaks off before this byte of the shard. */
  readonly breaksAt?: number
  /** Sends so many bytes at a time. */
  readonly chunk?: number
  /** Where another session goes on with a body that may be divided, as a share of it. */
  readonly divideAt?: number
}

/** What a range request for `bytes` is answered with. */
function answer ({ bytes, stated = sha256(bytes), ignoresRange = false, breaksAt = Infinity, chunk = bytes.length }: Server, { fields }: RelayRequest): RelayResponse {
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(fields.find(([name]) => name === 'range')?.[1] ?? '') ?? []
  const isPart = first !== undefined && !ignoresRange
  const [start, end] = isPart ? [Number(first), last === '' ? bytes.length : Math.min(bytes.length, Number(last) + 1)] : [0, bytes.length]
  const head: Array<[string, string]> = [['content-length', String(end - start)], ['etag', '"x"'], ['repr-digest', formatReprDigest(stated)]]
  if (isPart) head.push(['content-range', `bytes ${start}-${end - 1}/${bytes.length}`])
  let at = start
  return {
    status: isPart ? 206 : 200,
    fields: new Map(head),
    read: async () => {
      if (at >= breaksAt) throw new ShardClientError('reset', 'the relay reset the stream')
      if (at >= end) return null
      const piece = bytes.subarray(at, Math.min(end, at + chunk))
      at += piece.length
      return piece
    },
    cancel: () => {}
  }
}

interface Fetched extends ObjectResult { readonly requests: readonly string[], readonly progress: ReadonlyArray<readonly [number, number]> }

async function fetchRange (server: Server, manifest: Manifest, range: ClientRange | undefined, options: Partial<FetchRequest> = {}): Promise<Fetched> {
  const requests: string[] = []
  const session = (): PooledSession => new PooledSession({
    request: async request => {
      requests.push(request.fields.find(([name]) => name === 'range')?.[1] ?? 'all')
      return answer(server, request)
    },
    closed: new Promise(() => {}),
    close: () => {}
  }, { transport: 'webtransport', relayUrl: 'https://a', region: undefined, failures: [] }, 0)
  const sessions: Sessions = {
    join: body => {
      const { divideAt } = server
      // Once the first part has begun.
      if (divideAt !== undefined) queueMicrotask(() => { for (const piece of [...body.pieces]) body.divide(piece, piece.position + Math.floor((piece.end - piece.position) * divideAt), session()) })
    },
    leave: () => {},
    received: () => {},
    failed: () => {},
    release: () => {}
  }
  const progress: Array<readonly [number, number]> = []
  const result = await fetchObject(session(), {
    path: '/',
    range,
    blocks: range && blockRange(manifest, INDEX, range, platform),
    token: undefined,
    signal: new AbortController().signal,
    onProgress: ({ receivedBytes, totalBytes }) => { progress.push([receivedBytes, totalBytes]) },
    verify: true,
    sha256: manifest.shards[INDEX]?.sha256,
    maxBytes: 1_000_000,
    stallMs: 1_000,
    ...options
  }, sessions, platform)
  return { ...result, requests, progress }
}

function flipped (bytes: Uint8Array, at: number): Uint8Array {
  const copy = Uint8Array.from(bytes)
  copy[at] = (copy[at] ?? 0) ^ 1
  return copy
}

const BLOCK = 65_536
const SHARD = shardOf(3 * BLOCK + 1_000)
const MANIFEST = manifestOf(SHARD, BLOCK)

suite('a range of a shard whose blocks are known', () => {
  const cases: Array<[what: string, range: ClientRange, asked: string]> = [
    ['one byte', { start: 70_000, end: 70_001 }, 'bytes=65536-131071'],
    ['the first byte', { start: 0, end: 1 }, 'bytes=0-65535'],
    ['the last byte', { start: SHARD.length - 1, end: SHARD.length }, `bytes=196608-${SHARD.length - 1}`],
    ['the last byte, without end', { start: SHARD.length - 1 }, `bytes=196608-${SHARD.length - 1}`],
    ['two bytes on a border', { start: 65_535, end: 65_537 }, 'bytes=0-131071'],
    ['a block', { start: 65_536, end: 131_072 }, 'bytes=65536-131071'],
    ['the short last block', { start: 196_608 }, `bytes=196608-${SHARD.length - 1}`],
    ['over all borders', { start: 1, end: SHARD.length - 1 }, `bytes=0-${SHARD.length - 1}`],
    ['all of it', { start: 0 }, `bytes=0-${SHARD.length - 1}`],
    ['more than there is', { start: 100_000, end: 10_000_000 }, `bytes=65536-${SHARD.length - 1}`]
  ]
  for (const [what, range, asked] of cases) {
    test(`${what}: its blocks are asked for, and the bytes are exactly those of the range`, async () => {
      const { bytes, verified, status, requests, progress } = await fetchRange({ bytes: SHARD, chunk: 10_000 }, MANIFEST, range)
      const right = SHARD.subarray(range.start, range.end)
      assert.deepEqual([status, verified, requests, bytes.length], [206, true, [asked], right.length])
      assert.ok(right.equals(bytes))
      assert.ok(progress.every(([received, total], at) => total === right.length && received >= (progress[at - 1]?.[0] ?? 0)))
      assert.deepEqual(progress.at(-1), [right.length, right.length])
    })
  }

  test('a wrong block is named, and no other answer is asked for', async () => {
    const bytes = flipped(SHARD, 140_000)
    const fetching = fetchRange({ bytes, stated: sha256(SHARD) }, MANIFEST, { start: 70_000, end: 131_073 })
    await assert.rejects(fetching, { name: 'ShardClientError', fault: 'digest', retryable: false, message: 'block 2 of shard 3 does not match its hash in the manifest' })
  })

  test('a part that ends before the shard does is refused, as if that were all', async () => {
    await assert.rejects(fetchRange({ bytes: SHARD.subarray(0, -1), stated: sha256(SHARD) }, MANIFEST, { start: 197_000 }), { fault: 'digest', message: 'shard 3 has not the size of the manifest' })
  })

  test('a part of an object that hashes to something else is refused before its body, its blocks known or not', async () => {
    for (const manifest of [MANIFEST, manifestOf(SHARD, undefined)]) {
      await assert.rejects(fetchRange({ bytes: SHARD, stated: '00'.repeat(32) }, manifest, { start: 5 }), { fault: 'digest', retryable: false, message: /^the object hashes to 0{64}, not to [0-9a-f]{64}$/ })
      assert.equal((await fetchRange({ bytes: SHARD, stated: '00'.repeat(32) }, manifest, { start: 5 }, { blocks: undefined, verify: false })).verified, false)
    }
  })

  test('is not verified, and fetched as it is, without block hashes or SHA-256, and when there is nothing of the shard in it', async () => {
    const { requests, verified, bytes } = await fetchRange({ bytes: SHARD }, manifestOf(SHARD, undefined), { start: 5, end: 10 })
    assert.deepEqual([requests, verified, [...bytes]], [['bytes=5-9'], false, [...SHARD.subarray(5, 10)]])
    assert.equal(blockRange(MANIFEST, INDEX, { start: 5 }, { ...platform, sha256: undefined }), undefined)
    for (const range of [{ start: SHARD.length }, { start: 5, end: 5 }, { start: 6, end: 5 }, { start: -1 }, { start: Number.NaN }, { start: 0, end: Number.NaN }]) assert.equal(blockRange(MANIFEST, INDEX, range, platform), undefined)
    assert.equal(blockRange(MANIFEST, 14, { start: 5 }, platform), undefined)
  })

  test('what came of one that broke off is kept, and only the rest is asked for; when the whole is wrong, all of it once more', async () => {
    const range = { start: 70_000, end: 131_073 }
    const kept = { bytes: new Uint8Array(0) }
    await assert.rejects(fetchRange({ bytes: SHARD, chunk: 10_000, breaksAt: 100_000 }, MANIFEST, range, { kept }), { fault: 'reset' })
    assert.ok(SHARD.subarray(BLOCK, 105_536).equals(kept.bytes))
    await assert.rejects(fetchRange({ bytes: SHARD, chunk: 10_000, breaksAt: 110_000 }, MANIFEST, range, { kept }), { fault: 'reset' })
    const { bytes, verified, requests, progress } = await fetchRange({ bytes: SHARD, chunk: 10_000 }, MANIFEST, range, { kept })
    assert.deepEqual([requests, verified], [['bytes=115536-196607'], true])
    assert.ok(SHARD.subarray(range.start, range.end).equals(bytes))
    assert.deepEqual(progress.at(-1), [bytes.length, bytes.length])
    assert.ok((progress[0]?.[0] ?? 0) > 45_000)

    const wrong = { bytes: Uint8Array.from(flipped(SHARD, 70_000).subarray(BLOCK, 80_000)) }
    await assert.rejects(fetchRange({ bytes: SHARD }, MANIFEST, range, { kept: wrong }), { fault: 'truncated', retryable: true, message: /^block 1 of shard 3/ })
    assert.equal(wrong.bytes.length, 0)
    // A relay that ignores ranges sends all of it: what was kept is of no use then.
    const whole = await fetchRange({ bytes: SHARD, ignoresRange: true }, MANIFEST, range, { kept: { bytes: Uint8Array.from(SHARD.subarray(BLOCK, 80_000)) } })
    assert.ok(whole.verified && SHARD.subarray(range.start, range.end).equals(whole.bytes))
  })

  test('a bit that is wrong outside of the blocks of a part is not seen', async () => {
    const { bytes, verified } = await fetchRange({ bytes: flipped(SHARD, SHARD.length - 1), stated: sha256(SHARD) }, MANIFEST, { start: 5, end: 10 })
    assert.deepEqual([verified, [...bytes]], [true, [...SHARD.subarray(5, 10)]])
  })

  test('whatever shard, blocks, range, server and division: the right bytes, verified, or a digest that is wrong when a bit is', async () => {
    const shard = fc.record({
      size: fc.oneof(fc.integer({ min: 1, max: 300_000 }), fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: -1, max: 1 })).map(([blocks, more]) => blocks * BLOCK + more)),
      blockSize: fc.constantFrom(...BLOCK_SIZES),
      from: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      to: fc.option(fc.double({ min: 0, max: 1.2, noNaN: true }), { nil: undefined }),
      isRange: fc.boolean(),
      ignoresRange: fc.boolean(),
      chunk: fc.integer({ min: 500, max: 200_000 }),
      divideAt: fc.option(fc.double({ min: 0.01, max: 0.99, noNaN: true }), { nil: undefined }),
      flip: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
    })
    const seen = { parts: 0, wholes: 0, divided: 0, outside: 0 }
    await fc.assert(fc.asyncProperty(shard, async ({ size, blockSize, from, to, isRange, ignoresRange, chunk, divideAt, flip }) => {
      const bytes = shardOf(size)
      const manifest = manifestOf(bytes, blockSize)
      const start = Math.floor(from * size)
      const range = isRange ? { start, ...to !== undefined && { end: Math.max(start + 1, Math.floor(to * size)) } } : undefined
      const server: Server = { bytes, ignoresRange, chunk, ...divideAt !== undefined && !ignoresRange && { divideAt } }
      const right = bytes.subarray(range?.start, range?.end)
      const fetched = await fetchRange(server, manifest, range)
      assert.ok(fetched.verified && right.equals(fetched.bytes))
      const total = fetched.status === 206 ? right.length : size
      assert.ok(fetched.progress.every(([, all]) => all === total))
      assert.equal(fetched.progress.at(-1)?.[0], total)
      if (fetched.requests.length > 1) seen.divided++
      const at = Math.floor(flip * size)
      const tampered = fetchRange({ ...server, bytes: flipped(bytes, at), stated: sha256(bytes) }, manifest, range)
      const blocks = range && blockRange(manifest, INDEX, range, platform)
      if (fetched.status === 206 && blocks !== undefined && (at < blocks.fetched.start || at >= blocks.fetched.end)) {
        seen.outside++
        assert.ok(right.equals((await tampered).bytes))
        return
      }
      seen[fetched.status === 206 ? 'parts' : 'wholes']++
      const message = fetched.status === 206 ? `block ${Math.floor(at / blockSize)} of shard ${INDEX} does not match its hash in the manifest` : /^the object hashes to/
      await assert.rejects(tampered, { fault: 'digest', message })
    }), { numRuns: 150 })
    assert.ok([seen.parts, seen.wholes, seen.divided].every(count => count > 0), JSON.stringify(seen))
  })
})

suite('fetchShard with a manifest', () => {
  const A = 'https://a.example'

  async function rigged (t: TestContext, options: ShardClientOptions = {}): Promise<{ a: ViewerRig, client: ShardClient, network: FakeNetwork }> {
    const a = await viewerRig(t)
    a.source.objects.set(`${CID}/${INDEX}`, SHARD)
    const network = new FakeNetwork().add(A, a)
    const client = await ShardClient.connect(A, { platform: network.platform, webTransport: transportConnector(network.dial), ...options })
    t.after(() => client.close())
    return { a, client, network }
  }

  const range = { start: 70_000, end: 140_000 }

  test('verifies a range over WebTransport and over HTTP, and of a relay that ignores ranges the whole', async t => {
    for (const [transport, ranges, status] of [['webtransport', true, 206], ['http', true, 206], ['http', false, 200]] as const) {
      const { client, network } = await rigged(t, { transports: [transport] })
      network.ranges = ranges
      const part = await client.fetchShard(CID, INDEX, { range, manifest: MANIFEST })
      assert.deepEqual([part.transport, part.status, part.verified, part.attempts], [transport, status, true, 1])
      assert.ok(SHARD.subarray(range.start, range.end).equals(part.bytes))
    }
  })

  test('verifies the whole shard', async t => {
    const { client, a } = await rigged(t)
    assert.equal((await client.fetchShard(CID, INDEX, { manifest: MANIFEST })).verified, true)
    a.source.objects.set(`${CID}/${INDEX}`, flipped(SHARD, 9))
    await assert.rejects(client.fetchShard(CID, INDEX, { manifest: MANIFEST }), { fault: 'digest' })
    await assert.rejects(client.fetchShard(CID, INDEX, { manifest: MANIFEST, range }), { fault: 'digest', message: /^the object hashes to/ })
  })

  test('asks once for a block that is wrong, and lets go of it', async t => {
    const { client, a } = await rigged(t)
    const resolve = a.source.resolve.bind(a.source)
    a.source.objects.set(`${CID}/${INDEX}`, flipped(SHARD, 139_000))
    a.source.resolve = async (...request) => ({ ...await resolve(...request), sha256: sha256(SHARD) })
    await assert.rejects(client.fetchShard(CID, INDEX, { manifest: MANIFEST, range }), { fault: 'digest', message: `block 2 of shard ${INDEX} does not match its hash in the manifest` })
    assert.deepEqual([a.source.lent, a.source.held], [1, 0])
    const unverified = await client.fetchShard(CID, INDEX, { manifest: MANIFEST, range, verify: false })
    assert.deepEqual([unverified.verified, unverified.bytes.length], [false, 70_000])
  })

  test('fetches no more than the range when it is not to be verified', async t => {
    const { client } = await rigged(t, { maxObjectBytes: 70_000 })
    await assert.rejects(client.fetchShard(CID, INDEX, { manifest: MANIFEST, range }), { fault: 'protocol', message: 'the object has 131072 bytes, at most 70000 are accepted' })
    assert.equal((await client.fetchShard(CID, INDEX, { manifest: MANIFEST, range, verify: false })).bytes.length, 70_000)
  })

  test('a platform without SHA-256 gets the range, not verified', async t => {
    const { network } = await rigged(t)
    const client = await ShardClient.connect(A, { platform: { ...network.platform, sha256: undefined } })
    t.after(() => client.close())
    network.ranges = true
    const part = await client.fetchShard(CID, INDEX, { range, manifest: MANIFEST })
    assert.deepEqual([part.status, part.verified, part.bytes.length], [206, false, 70_000])
  })

  test('a manifest of another video is refused, and a range beyond the end as by the relay', async t => {
    const { client, a } = await rigged(t)
    await assert.rejects(client.fetchShard('QmOther', INDEX, { manifest: MANIFEST }), { fault: 'manifest' })
    assert.equal(a.source.resolved.length, 0)
    await assert.rejects(client.fetchShard(CID, INDEX, { manifest: MANIFEST, range: { start: SHARD.length } }), { fault: 'status', status: 416 })
  })
})

suite('the blocks of a manifest, as a client reads them', () => {
  const listed = (change: object, at = 2): object[] => Array.from({ length: 14 }, (_, index) => ({ index, size: SHARD.length, sha256: sha256(SHARD), blocks: blocksOf(SHARD, BLOCK), ...index === at && change }))
  const read = (shards: object[], blockSize: unknown = BLOCK): Manifest => parseManifest(Buffer.from(JSON.stringify({ version: 1, cid: CID, size: 5, dataShards: 10, parityShards: 4, shardSize: SHARD.length, sha256: sha256(SHARD), blockSize, shards })), CID)

  test('are those of each shard by its index, or there are none', () => {
    const blocks = blocksOf(flipped(SHARD, 0), BLOCK)
    const found = read(listed({ blocks }).reverse()).blocks
    assert.deepEqual(found?.map(({ blockSize, hashes }) => [blockSize, hashes.length]), Array.from({ length: 14 }, () => [BLOCK, 4 * 32]))
    assert.equal(Buffer.from(found?.[2]?.hashes ?? []).toString('base64'), blocks)
    assert.equal(manifestOf(SHARD, undefined).blocks, undefined)
  })

  const wrong = 'blocks of shard 2 are not 128 bytes in base64'
  const refused: Array<[what: string, change: object, blockSize: unknown, message: string]> = [
    ['of a size that is not allowed', {}, 32_768, 'blockSize is none of 65536, 131072, 262144'],
    ['without their size', {}, null, 'blockSize is none of 65536, 131072, 262144'],
    ['that one shard has not', { blocks: undefined }, BLOCK, wrong],
    ['that are not base64', { blocks: '!' }, BLOCK, wrong],
    ['without padding', { blocks: blocksOf(SHARD, BLOCK).replace(/=+$/, '') }, BLOCK, wrong],
    ['with white space', { blocks: ` ${blocksOf(SHARD, BLOCK)}` }, BLOCK, wrong],
    ['that are too few', { blocks: blocksOf(SHARD.subarray(0, BLOCK), BLOCK) }, BLOCK, wrong],
    ['of a shard of another size', { size: SHARD.length - 1 }, BLOCK, 'shard 2 has blocks and not the size that shardSize says']
  ]
  for (const [what, change, blockSize, message] of refused) {
    test(`are refused: ${what}`, () => {
      assert.throws(() => read(listed(change), blockSize), { name: 'ShardClientError', fault: 'manifest', message: `the manifest is not usable: ${message}` })
    })
  }
})
