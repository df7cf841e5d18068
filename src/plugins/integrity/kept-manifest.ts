import { readBytes } from '../../storage/block-reader.ts'
import type { ShardCache } from '../shard-cache/shard-cache.ts'
import { sha256 } from './verify-manifest.ts'

/** A manifest of the cache that was believed when it was stored. */
export interface KeptManifest {
  readonly bytes: Buffer
  /** When super-nodes last had it, ms since the epoch. */
  readonly storedAt: number
}

/** The manifest of a CID, if the cache has one that was believed when it was stored, and its bytes are still those; never rejects. */
export async function keptManifest (cache: Pick<ShardCache, 'open'>, cid: string, maxBytes: number): Promise<KeptManifest | undefined> {
  const object = await cache.open({ cid, part: 'manifest' }).catch(() => undefined)
  if (object === undefined) return undefined
  try {
    // What was purged softly is asked of super-nodes.
    if (!object.verified || object.staleSince > 0 || object.size > maxBytes) return undefined
    const bytes = await readBytes(object, 0, object.size)
    return sha256(bytes).toString('hex') === object.sha256 ? { bytes, storedAt: object.storedAt } : undefined
  } catch {
    return undefined
  } finally {
    object.release()
  }
}
