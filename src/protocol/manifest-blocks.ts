import { DIGEST_BYTES } from '../base/digest-list.ts'
import { ManifestError, type VideoManifest } from './manifest.ts'
import { TOTAL_SHARDS } from './shard-key.ts'

/* The optional members of a manifest by which a shard is verified block by block: `docs/manifest.md`, "Blocks". */

/** SHA-256 of the blocks of one shard. */
export interface BlockHashes {
  /** Bytes of every block but the last, which may have less. */
  readonly blockSize: number
  /** 32 bytes for each block, in their order. */
  readonly hashes: Uint8Array
}

/** Sizes a block may have, bytes: smaller ones make the manifest large, larger ones the first byte late. */
export const BLOCK_SIZES = [65_536, 131_072, 262_144] as const

export const blockCount = (size: number, blockSize: number): number => Math.ceil(size / blockSize)

/**
 * The block hashes of a manifest whose other members are checked; undefined when it has none.
 * @param value the manifest, parsed
 * @returns those of each shard, by index
 * @throws ManifestError with the fault `blocks`
 */
export function readBlocks (value: unknown, { shardSize }: Pick<VideoManifest, 'shardSize'>): BlockHashes[] | undefined {
  const { blockSize, shards } = value as { readonly blockSize?: unknown, readonly shards: readonly { readonly blocks?: unknown }[] }
  const lists = shards.map(shard => shard.blocks)
  if (blockSize === undefined && lists.every(list => list === undefined)) return undefined
  const size = BLOCK_SIZES.find(allowed => allowed === blockSize)
  if (size === undefined) throw new ManifestError('blocks', `blockSize is none of ${BLOCK_SIZES.join(', ')}`)
  const bytes = blockCount(shardSize, size) * DIGEST_BYTES
  return Array.from({ length: TOTAL_SHARDS }, (_, index) => {
    const list = lists[index]
    const hashes = typeof list === 'string' ? Buffer.from(list, 'base64') : undefined
    if (hashes?.length !== bytes || hashes.toString('base64') !== list) throw new ManifestError('blocks', `blocks of shard ${index} are not ${bytes} bytes in base64`)
    return { blockSize: size, hashes }
  })
}
