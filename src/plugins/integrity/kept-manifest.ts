import { readBytes } from '../../storage/block-reader.ts'
import type { ShardKey } from '../../protocol/shard-key.ts'
import type { ShardCache } from '../shard-cache/shard-cache.ts'
import { sha256 } from './verify-manifest.ts'

/** Time for memory to come free in which it can be written, ms. */
const WRITE_MS = 5_000

/** Keeps a believed manifest in the cache, where it is an object like any other, unless it is there. Rejects when the disk does. */
export async function keepManifest (cache: Pick<ShardCache, 'has' | 'createSpool'>, cid: string, bytes: Buffer, digest: string): Promise<void> {
  const key: ShardKey = { cid, part: 'manifest' }
  if (cache.has(key)) return
  const ticket = await cache.createSpool(key, bytes.length, true)
  try {
    await ticket.spool.append(bytes, AbortSignal.timeout(WRITE_MS))
    await ticket.commit(digest, true)
  } finally {
    await ticket.spool.close()
  }
}

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
