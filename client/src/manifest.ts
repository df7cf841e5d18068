import type { ManifestShard } from '../../src/protocol/manifest.ts'
import { readBlocks, type BlockHashes } from '../../src/protocol/manifest-blocks.ts'
import { DATA_SHARDS, PARITY_SHARDS, TOTAL_SHARDS } from '../../src/protocol/shard-key.ts'
import { ShardClientError } from './client-error.ts'

/** How the shards make a video: the data shards in order, cut to `size`. */
export interface Manifest {
  readonly version: 1
  readonly cid: string
  /** Bytes of the whole video. */
  readonly size: number
  readonly contentType: string
  readonly dataShards: number
  readonly parityShards: number
  /** Bytes of a shard; a shorter one counts as padded with zeros. */
  readonly shardSize: number
  /** Of the whole video, lower-case hex. */
  readonly sha256: string
  /** By index. */
  readonly shards: readonly ManifestShard[]
  /** By index, of the blocks of each shard; undefined when it has none, and parts of a shard cannot be verified. */
  readonly blocks?: readonly BlockHashes[] | undefined
}

const HEX = /^[0-9a-f]{64}$/

function fail (why: string): never {
  throw new ShardClientError('manifest', `the manifest is not usable: ${why}`)
}

function record (value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) fail(`${what} is not an object`)
  return value as Readonly<Record<string, unknown>>
}

function amount (value: unknown, what: string): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : fail(`${what} is not a size`)
}

function hash (value: unknown, what: string): string {
  return typeof value === 'string' && HEX.test(value) ? value : fail(`${what} is not a SHA-256`)
}

/** As a relay reads them, which takes shards of one size only: the hashes are of shards of that size. */
function blocksOf (blockSize: unknown, entries: readonly unknown[], shards: readonly ManifestShard[], shardSize: number): readonly BlockHashes[] | undefined {
  const blocks = readBlocks({ blockSize, shards: entries }, { shardSize }, fail)
  const other = blocks && shards.find(({ size }) => size !== shardSize)
  return other === undefined ? blocks : fail(`shard ${other.index} has blocks and not the size that shardSize says`)
}

/**
 * Reads a manifest and checks that it is consistent; its signature is not checked here.
 * @param bytes JSON
 * @throws ShardClientError manifest
 */
export function parseManifest (bytes: Uint8Array, cid: string): Manifest {
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    fail('it is not JSON')
  }
  const value = record(json, 'it')
  if (value['version'] !== 1) fail('its version is not 1')
  if (value['cid'] !== cid) fail('it is of another CID')
  if (value['dataShards'] !== DATA_SHARDS || value['parityShards'] !== PARITY_SHARDS) fail(`it has not ${DATA_SHARDS} data and ${PARITY_SHARDS} parity shards`)
  const size = amount(value['size'], 'size')
  const shardSize = amount(value['shardSize'], 'shardSize')
  if (size > shardSize * DATA_SHARDS) fail('the shards are too small for the video')
  const listed = value['shards']
  if (!Array.isArray(listed) || listed.length !== TOTAL_SHARDS) fail(`it does not list ${TOTAL_SHARDS} shards`)
  const shards = new Map<number, ManifestShard>()
  const entries: unknown[] = []
  for (const entry of listed as unknown[]) {
    const shard = record(entry, 'a shard')
    const index = amount(shard['index'], 'the index of a shard')
    const bytesOfShard = amount(shard['size'], `the size of shard ${index}`)
    if (bytesOfShard > shardSize) fail(`shard ${index} is larger than shardSize`)
    entries[index] = entry
    shards.set(index, { index, size: bytesOfShard, sha256: hash(shard['sha256'], `the hash of shard ${index}`) })
  }
  const ordered = Array.from({ length: TOTAL_SHARDS }, (_, index) => shards.get(index) ?? fail(`shard ${index} is missing`))
  const contentType = value['contentType']
  return {
    version: 1,
    cid,
    size,
    contentType: typeof contentType === 'string' ? contentType : 'application/octet-stream',
    dataShards: DATA_SHARDS,
    parityShards: PARITY_SHARDS,
    shardSize,
    sha256: hash(value['sha256'], 'sha256'),
    shards: ordered,
    blocks: blocksOf(value['blockSize'], entries, ordered, shardSize)
  }
}
