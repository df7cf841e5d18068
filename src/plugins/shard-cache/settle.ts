import { keyId, keysOfCid, type ShardKey } from '../../protocol/shard-key.ts'
import type { ShardCache } from './shard-cache.ts'

/**
 * Compares what the cache holds of a CID and nobody has verified with what it must be: the right objects are verified from now on, the others go.
 * @param expected size in bytes and SHA-256 in lower-case hex
 * @returns what became of each
 */
export function settleUnverified (cache: ShardCache, cid: string, expected: (key: ShardKey) => { readonly size: number, readonly sha256: string }): ('verified' | 'evicted')[] {
  return keysOfCid(cid).flatMap(key => {
    const entry = cache.disk.peek(keyId(key))
    if (entry === undefined || entry.verified) return []
    const right = expected(key)
    if (entry.size === right.size && entry.sha256 === right.sha256) {
      cache.disk.verified(entry)
      return ['verified' as const]
    }
    cache.purge(key)
    return ['evicted' as const]
  })
}
