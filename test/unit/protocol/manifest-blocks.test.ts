import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { DIGEST_BYTES } from '../../../src/base/digest-list.ts'
import { publisherKey, sha256, verifyManifest, type CheckedManifest } from '../../../src/plugins/integrity/verify-manifest.ts'
import { ManifestError } from '../../../src/protocol/manifest.ts'
import { BLOCK_SIZES, blockCount, readBlocks } from '../../../src/protocol/manifest-blocks.ts'
import { TOTAL_SHARDS } from '../../../src/protocol/shard-key.ts'
import { makePublisher, manifestBody, manifestText, signedBody, videoShards } from '../../../tools/harness/manifests.ts'

const CID = 'QmBlocks'
const BLOCK_SIZE = 65_536
const SHARD_SIZE = 100_000
const SHARDS = videoShards(CID, SHARD_SIZE)
const PUBLISHER = makePublisher()
/** Hashes of the two blocks of each shard. */
const HASHES = SHARDS.map(shard => Buffer.concat([sha256(shard.subarray(0, BLOCK_SIZE)), sha256(shard.subarray(BLOCK_SIZE))]))

function bodyWith (blockSize: unknown, lists: readonly unknown[]): Record<string, unknown> {
  const body = manifestBody(CID, SHARDS)
  const shards = (body['shards'] as readonly Record<string, unknown>[]).map((shard, index) => lists[index] === undefined ? shard : { ...shard, blocks: lists[index] })
  return { ...body, ...blockSize === undefined ? {} : { blockSize }, shards }
}

const LISTS: readonly string[] = HASHES.map(hashes => hashes.toString('base64'))
const instead = (index: number, list: unknown): unknown[] => LISTS.map((right, at) => at === index ? list : right)

function verified (body: Record<string, unknown>): CheckedManifest {
  const key = publisherKey(PUBLISHER.key)
  assert.ok(key !== undefined)
  return verifyManifest(manifestText(signedBody(body, PUBLISHER)), CID, { maxBytes: 1_048_576, publishers: new Map([[PUBLISHER.key, key]]), maxAgeMs: 0 }, 0)
}

suite('the blocks of a manifest', () => {
  test('are there for every shard, or for none', () => {
    assert.equal(verified(manifestBody(CID, SHARDS)).blocks, undefined)
    const { blocks } = verified(bodyWith(BLOCK_SIZE, LISTS))
    assert.equal(blocks?.length, TOTAL_SHARDS)
    for (const [index, { blockSize, hashes }] of blocks.entries()) {
      assert.equal(blockSize, BLOCK_SIZE)
      assert.ok(HASHES[index]?.equals(hashes))
    }
  })

  const [first = '', second = ''] = LISTS
  const WRONG: Record<string, [blockSize: unknown, lists: readonly unknown[]]> = {
    'a size that is not allowed': [32_768, LISTS],
    'a size that would fit, but is not allowed': [65_537, LISTS],
    'a size of zero': [0, LISTS],
    'a negative size': [-65_536, LISTS],
    'a size as text': ['65536', LISTS],
    'a size that is null': [null, LISTS],
    'another allowed size than that of the lists': [131_072, LISTS],
    'lists without a size': [undefined, LISTS],
    'one list without a size': [undefined, LISTS.map((list, index) => index === 13 ? list : undefined)],
    'a size without lists': [BLOCK_SIZE, []],
    'no list of the first shard': [BLOCK_SIZE, instead(0, undefined)],
    'no list of the last shard': [BLOCK_SIZE, instead(13, undefined)],
    'a list that is null': [BLOCK_SIZE, instead(3, null)],
    'a list of hashes one by one': [BLOCK_SIZE, instead(3, [first, second])],
    'a list that is empty': [BLOCK_SIZE, instead(3, '')],
    'a list short by a byte': [BLOCK_SIZE, instead(3, HASHES[3]?.subarray(1).toString('base64'))],
    'a list short by a hash': [BLOCK_SIZE, instead(3, HASHES[3]?.subarray(DIGEST_BYTES).toString('base64'))],
    'a list long by a byte': [BLOCK_SIZE, instead(3, Buffer.concat([HASHES[3] ?? Buffer.of(), Buffer.of(0)]).toString('base64'))],
    'a list long by a hash': [BLOCK_SIZE, instead(3, Buffer.alloc(3 * DIGEST_BYTES).toString('base64'))],
    'a list in base64url': [BLOCK_SIZE, instead(3, Buffer.alloc(64, 0xff).toString('base64url'))],
    'a list in hex': [BLOCK_SIZE, instead(3, HASHES[3]?.toString('hex'))],
    'a list without its padding': [BLOCK_SIZE, instead(3, first.replace(/=+$/, ''))],
    'a list with more padding': [BLOCK_SIZE, instead(3, `${first}=`)],
    'a list with a line break': [BLOCK_SIZE, instead(3, `${first}\n`)],
    'a list with a space in it': [BLOCK_SIZE, instead(3, `${first.slice(0, 4)} ${first.slice(4)}`)],
    'a list whose unused bits are set': [BLOCK_SIZE, instead(3, first.replace(/.==$/, '/=='))]
  }
  for (const [name, [blockSize, lists]] of Object.entries(WRONG)) {
    test(`are refused with ${name}`, () => {
      assert.throws(() => verified(bodyWith(blockSize, lists)), { name: 'ManifestError', fault: 'blocks' })
    })
  }

  test('are under the signature', () => {
    const signed = signedBody(bodyWith(BLOCK_SIZE, LISTS), PUBLISHER)
    const shards = (signed['shards'] as readonly Record<string, unknown>[]).map((shard, index) => index === 2 ? { ...shard, blocks: first } : shard)
    assert.throws(() => verifyManifest(manifestText({ ...signed, shards }), CID, { maxBytes: 1_048_576, publishers: new Map(), maxAgeMs: 0 }, 0), { name: 'ManifestError', fault: 'signature' })
  })

  test('a shard has as many as its bytes need, the last one short', () => {
    assert.deepEqual([1, 65_535, 65_536, 65_537, 131_072].map(size => blockCount(size, BLOCK_SIZE)), [1, 1, 1, 2, 2])
  })

  test('whatever the members are: hashes of the right length for every shard, none, or a fault', () => {
    const size = fc.oneof({ weight: 3, arbitrary: fc.constantFrom<unknown>(...BLOCK_SIZES) }, { weight: 1, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: fc.jsonValue() })
    const list = (shardSize: number): fc.Arbitrary<unknown> => fc.oneof(
      { weight: 40, arbitrary: fc.constantFrom(...BLOCK_SIZES).map(one => Buffer.alloc(blockCount(shardSize, one) * DIGEST_BYTES, one).toString('base64')) },
      { weight: 1, arbitrary: fc.constant(undefined) },
      { weight: 1, arbitrary: fc.uint8Array({ maxLength: 100 }).map(bytes => Buffer.from(bytes).toString('base64')) },
      { weight: 1, arbitrary: fc.oneof(fc.base64String(), fc.string(), fc.jsonValue()) }
    )
    const none = fc.constant<unknown[]>(Array.from({ length: TOTAL_SHARDS }, () => undefined))
    const value = fc.integer({ min: 1, max: 300_000 }).chain(shardSize => fc.record({ shardSize: fc.constant(shardSize), blockSize: size, lists: fc.oneof({ weight: 5, arbitrary: fc.array(list(shardSize), { minLength: TOTAL_SHARDS, maxLength: TOTAL_SHARDS }) }, { weight: 1, arbitrary: none }) }))
    const seen = { hashes: 0, none: 0, fault: 0 }
    fc.assert(fc.property(value, ({ shardSize, blockSize, lists }) => {
      try {
        const blocks = readBlocks({ blockSize, shards: lists.map(blocks => ({ blocks })) }, { shardSize }, why => { throw new ManifestError('blocks', why) })
        if (blocks === undefined) {
          assert.ok(blockSize === undefined && lists.every(one => one === undefined))
          seen.none++
          return
        }
        assert.equal(blocks.length, TOTAL_SHARDS)
        for (const [index, one] of blocks.entries()) {
          assert.equal(one.blockSize, blockSize)
          assert.equal(one.hashes.length, blockCount(shardSize, one.blockSize) * DIGEST_BYTES)
          assert.equal(Buffer.from(one.hashes).toString('base64'), lists[index])
        }
        seen.hashes++
      } catch (error) {
        if (!(error instanceof ManifestError)) throw error
        assert.equal(error.fault, 'blocks')
        seen.fault++
      }
    }), { numRuns: 500 })
    assert.ok(seen.hashes > 0 && seen.none > 0 && seen.fault > 0, `each outcome is seen: ${JSON.stringify(seen)}`)
  })
})
