import { seededRandom } from '../../demo/super-node/faults.ts'
import { DATA_SHARDS, shardPath } from '../../src/protocol/shard-key.ts'
import { syntheticCid } from '../request-mix.ts'
import { Zipf } from '../zipf.ts'

/** One request of a soak: a data shard, whole or a range of it. */
export interface SoakRequest {
  readonly cid: string
  readonly part: number
  readonly path: string
  readonly bytes: number
  readonly range: { readonly start: number, readonly end: number } | undefined
}

/** Sizes of shards: below one read of the disk, a few of them, and the network's smallest. */
const SIZES = [20_000, 200_000, 1_000_000]
export const VIDEOS = 24
const RANGE_SHARE = 0.2
const EXPONENT = 0.8

/** CIDs of the soak's videos. */
export const CIDS: readonly string[] = Array.from({ length: VIDEOS }, (_, video) => syntheticCid(SIZES[video % SIZES.length] ?? 1, `soak${video}`))
/** All that can be asked for, bytes. */
export const CATALOGUE_BYTES = CIDS.reduce((sum, _cid, video) => sum + DATA_SHARDS * (SIZES[video % SIZES.length] ?? 0), 0)
export const MAX_SHARD_BYTES = Math.max(...SIZES)

/** Requests by popularity of the shards. */
export function soakRequests (seed: number): () => SoakRequest {
  const random = seededRandom(seed)
  const zipf = new Zipf(VIDEOS * DATA_SHARDS, EXPONENT)
  return () => {
    const rank = zipf.rank(random())
    const video = rank % VIDEOS
    const part = Math.floor(rank / VIDEOS)
    const bytes = SIZES[video % SIZES.length] ?? 1
    const cid = CIDS[video] ?? ''
    const start = Math.floor(random() * bytes)
    const range = random() < RANGE_SHARE ? { start, end: start + 1 + Math.floor(random() * (bytes - start)) } : undefined
    return { cid, part, path: shardPath({ cid, part }), bytes, range }
  }
}
