import { DIGEST_BYTES } from '../base/digest-list.ts'
import type { VideoManifest } from './manifest.ts'
import { bytesOfBase64 } from './repr-digest.ts'
import { TOTAL_SHARDS } from './shard-key.ts'

/*
 * The optional members of a manifest by which a shard is verified block by block: `docs/manifest.md`, "Blocks". Relays and clients read them with this, so it
 * runs in browsers too: no Buffer here.
 */

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
 * @param refuse throws the error of the caller, who knows which faults he has
 * @returns those of each shard, by index
 */
export function readBlocks (value: unknown, { shardSize }: Pick<VideoManifest, 'shardSize'>, refuse: (why: string) => never): BlockHashes[] | undefined {
  const { blockSize, shards } = value as { readonly blockSize?: unknown, readonly shards: readonly { readonly blocks?: unknown }[] }
  const lists = shards.map(shard => shard.blocks)
  if (blockSize === undefined && lists.every(list => list === undefined)) return undefined
  const size = BLOCK_SIZES.find(allowed => allowed === blockSize)
  if (size === undefined) return refuse(`blockSize is none of ${BLOCK_SIZES.join(', ')}`)
  const bytes = blockCount(shardSize, size) * DIGEST_BYTES
  return Array.from({ length: TOTAL_SHARDS }, (_, index) => {
    const hashes = strictBytes(lists[index])
    return hashes?.length === bytes ? { blockSize: size, hashes } : refuse(`blocks of shard ${index} are not ${bytes} bytes in base64`)
  })
}

/** What it is in base64; undefined when there is white space in it, no padding, or a bit that means nothing: `atob` takes all of these. */
function strictBytes (list: unknown): Uint8Array | undefined {
  const bytes = typeof list === 'string' ? bytesOfBase64(list) : undefined
  return typeof list === 'string' && bytes !== undefined && btoa(atob(list)) === list ? bytes : undefined
}
