import { createHash } from 'node:crypto'
import type { StoreTicket } from '../../src/plugins/shard-cache/intake.ts'
import type { ShardKey } from '../../src/protocol/shard-key.ts'

export const never: AbortSignal = new AbortController().signal

export function sha256 (bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** Bytes told apart by `label`, the same for the same label. */
export function bytesOf (label: string, size: number): Buffer {
  const seed = createHash('sha256').update(label).digest()
  const bytes = Buffer.alloc(size)
  for (let at = 0; at < size; at += seed.length) {
    seed.writeUInt32BE(at)
    seed.copy(bytes, at)
  }
  return bytes
}

/** Writes a body and commits it; false when it was not stored. */
export async function storeBytes (cache: { createSpool: (key: ShardKey, capacity: number, store: boolean) => Promise<StoreTicket> }, key: ShardKey, bytes: Uint8Array): Promise<boolean> {
  const { spool, commit } = await cache.createSpool(key, bytes.length, true)
  try {
    if (bytes.length > 0) await spool.append(bytes, never)
    return await commit(sha256(bytes))
  } finally {
    await spool.close()
  }
}
