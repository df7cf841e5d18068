import { abortable } from '../../base/abortable.ts'
import type { ShardKey } from '../../protocol/shard-key.ts'
import type { ShardCache } from '../shard-cache/shard-cache.ts'
import type { ShardService } from '../shards/shard-service.ts'

export interface BringInOptions {
  readonly shards: Pick<ShardService, 'openWhole'>
  readonly cache: Pick<ShardCache, 'has'>
}

/**
 * Brings an object into the cache, as any miss would, without being one. What no super-node delivers is not rebuilt: that is what repairs are for.
 * @returns its size, whether it was fetched for this caller, and whether the cache keeps it
 * @throws RelayError as fetching does; the reason of the signal
 */
export async function bringIn (key: ShardKey, signal: AbortSignal, { shards, cache }: BringInOptions): Promise<{ bytes: number, fetched: boolean, stored: boolean }> {
  const source = await abortable(shards.openWhole(key, { repairs: false, signal }), signal)
  try {
    const { size, origin } = source
    await abortable(source.settled, signal)
    return { bytes: size, fetched: !origin.hit && !origin.collapsed, stored: cache.has(key) }
  } finally {
    source.release()
  }
}
