import assert from 'node:assert/strict'
import { basename } from 'node:path'
import { ShardClientError } from '../../client/src/client-error.ts'
import { parseManifest as parseVideo } from '../../client/src/manifest.ts'
import { parseFileName, relativeFile } from '../../src/plugins/shard-cache/entry.ts'
import { manifestText, parseManifest } from '../../src/plugins/shard-cache/manifest.ts'
import { ManifestError, parseManifest as parseStrictly } from '../../src/protocol/manifest.ts'
import { readBlocks } from '../../src/protocol/manifest-blocks.ts'
import { keyId } from '../../src/protocol/shard-key.ts'
import { orRefused } from '../support/fuzz.ts'

const CID = 'QmFuzz'
const MAX_BYTES = 65_536

/** `cache_manifest.json`, which an operator may import, and the manifest of a video, which comes from a super-node: as clients read it, and as relays do. */
export function fuzz (data: Uint8Array): void {
  const entries = orRefused(['RELAY_ERR_MANIFEST'], () => parseManifest(Buffer.from(data).toString()))
  if (entries !== undefined) {
    const text = [...manifestText(entries.map(entry => ({ ...entry, id: keyId(entry) })))].join('')
    assert.equal(JSON.stringify(parseManifest(text)), JSON.stringify(entries))
    for (const { cid, part, generation } of entries) {
      const file = relativeFile(keyId({ cid, part }), generation)
      assert.match(file, /^[0-9a-f]{2}\/[0-9a-f]{2}\/[A-Za-z0-9_-]{1,128}\.(?:\d\d|manifest)\.[0-9a-z]{1,24}$/)
      assert.equal(JSON.stringify(parseFileName(basename(file))), JSON.stringify({ key: { cid, part }, generation }))
    }
  }
  fuzzStrict(data)
  fuzzLenient(data)
}

/** What a relay takes says the same when it is written canonically, and a client takes it as well. */
function fuzzStrict (data: Uint8Array): void {
  let parsed
  try {
    parsed = parseStrictly(data, CID, MAX_BYTES)
  } catch (error) {
    if (error instanceof ManifestError) return
    throw error
  }
  assert.equal(parseStrictly(Buffer.from(parsed.signedText), CID, Infinity).signedText, parsed.signedText)
  let blocks
  try {
    blocks = readBlocks(parsed.value, parsed.manifest, why => { throw new ManifestError('blocks', why) })
  } catch (error) {
    if (!(error instanceof ManifestError)) throw error
    assert.throws(() => parseVideo(data, CID), { fault: 'manifest' })
    return
  }
  const video = parseVideo(data, CID)
  assert.deepEqual(video.shards, parsed.manifest.shards)
  assert.deepEqual(video.blocks, blocks)
}

function fuzzLenient (data: Uint8Array): void {
  let video
  try {
    video = parseVideo(data, CID)
  } catch (error) {
    if (error instanceof ShardClientError && error.fault === 'manifest') return
    throw error
  }
  assert.equal(video.shards.length, video.dataShards + video.parityShards)
  assert.ok(video.size <= video.shardSize * video.dataShards)
  video.shards.forEach((shard, position) => {
    assert.equal(shard.index, position)
    assert.ok(shard.size <= video.shardSize)
    assert.match(shard.sha256, /^[0-9a-f]{64}$/)
  })
}
