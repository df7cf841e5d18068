import { digestAt } from '../../src/base/digest-list.ts'
import { hexOf } from '../../src/protocol/repr-digest.ts'
import { ShardClientError } from './client-error.ts'
import type { BlockRange, ClientRange } from './fetch-request.ts'
import type { Manifest } from './manifest.ts'
import type { ClientPlatform } from './platform.ts'

/**
 * What is fetched for a range of a shard, so that its bytes can be compared with the hashes of their blocks: the blocks that it touches.
 * @returns undefined where it cannot be verified: no block hashes, no SHA-256, or not a byte of the shard in it
 */
export function blockRange ({ shards, blocks }: Manifest, index: number, { start, end = Infinity }: ClientRange, { sha256 }: ClientPlatform): BlockRange | undefined {
  const [shard, listed] = [shards[index], blocks?.[index]]
  if (shard === undefined || listed === undefined || sha256 === undefined || !(start >= 0 && start < Math.min(end, shard.size))) return undefined
  const { blockSize, hashes } = listed
  const first = Math.floor(start / blockSize)
  const fetched = { start: first * blockSize, end: Math.min(shard.size, Math.ceil(end / blockSize) * blockSize) }
  return {
    fetched,
    from: start - fetched.start,
    to: Math.min(end, shard.size) - fetched.start,
    async verify (bytes) {
      if (bytes.length !== fetched.end - fetched.start) throw new ShardClientError('digest', `shard ${index} has not the size of the manifest`)
      const count = Math.ceil(bytes.length / blockSize)
      const digests = await Promise.all(Array.from({ length: count }, (_, block) => sha256(bytes.subarray(block * blockSize, (block + 1) * blockSize))))
      const wrong = digests.findIndex((digest, block) => hexOf(digest) !== hexOf(digestAt(hashes, first + block)))
      if (wrong >= 0) throw new ShardClientError('digest', `block ${first + wrong} of shard ${index} does not match its hash in the manifest`)
    }
  }
}
