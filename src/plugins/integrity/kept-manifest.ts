import type { ShardCache } from '../shard-cache/shard-cache.ts'
import { sha256 } from './verify-manifest.ts'

/** The manifest of a CID, if the cache has one that was believed when it was stored, and its bytes are still those; never rejects. */
export async function keptManifest (cache: Pick<ShardCache, 'open'>, cid: string, maxBytes: number): Promise<Buffer | undefined> {
  const object = await cache.open({ cid, part: 'manifest' }).catch(() => undefined)
  if (object === undefined) return undefined
  try {
    if (!object.verified || object.size > maxBytes) return undefined
    const bytes = Buffer.alloc(object.size)
    for (let at = 0; at < bytes.length;) {
      const piece = await object.read(at, bytes.length - at)
      if (piece.length === 0) return undefined
      bytes.set(piece, at)
      at += piece.length
    }
    return sha256(bytes).toString('hex') === object.sha256 ? bytes : undefined
  } catch {
    return undefined
  } finally {
    object.release()
  }
}
