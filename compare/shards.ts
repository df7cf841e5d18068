import { createHash } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { syntheticShard } from '../demo/super-node/server.ts'

/** Shards of a video that cost nothing to make: the four of parity would. */
const SHARDS_PER_CID = 10

/** Objects of one size that a scenario asks for. */
export interface ShardSet {
  readonly bytes: number
  readonly cids: readonly string[]
  /** Path of every shard. */
  readonly paths: readonly string[]
}

/**
 * Names at least `count` incompressible shards, the same bytes at every super-node.
 * @param bytes of one shard
 */
export function shardSet (bytes: number, label: string, count: number): ShardSet {
  const cids = Array.from({ length: Math.ceil(count / SHARDS_PER_CID) }, (_, number) => `syn-${bytes}-${label}${number}`)
  return { bytes, cids, paths: cids.flatMap(cid => Array.from({ length: SHARDS_PER_CID }, (_, index) => `/shards/${cid}/shard_${index}.bin`)) }
}

function bodies ({ cids }: ShardSet): Buffer[] {
  return cids.flatMap(cid => Array.from({ length: SHARDS_PER_CID }, (_, index) => syntheticShard(cid, index)))
}

/** SHA-256 of every shard in the order of `paths`, lower-case hex. */
export function digestsOf (set: ShardSet): string[] {
  return bodies(set).map(body => createHash('sha256').update(body).digest('hex'))
}

/** Writes a set as static files under the paths it is asked for. */
export async function writeShards (folder: string, set: ShardSet): Promise<void> {
  for (const cid of set.cids) {
    await mkdir(join(folder, 'shards', cid), { recursive: true })
    for (let index = 0; index < SHARDS_PER_CID; index++) await writeFile(join(folder, 'shards', cid, `shard_${index}.bin`), syntheticShard(cid, index))
  }
}
