import { createHash } from 'node:crypto'
import { digestAt } from '../../base/digest-list.ts'
import type { BlockSpool } from '../shard-cache/block-spool.ts'

/**
 * Verifies again what an earlier fill has left of an object.
 * @param hashes of all blocks
 * @param first with which it begins, because it is waited for
 * @param looked told of each block that was looked at: its bytes when they are right, and can be read
 * @throws the reason of the signal
 */
export async function verifyClaimed (spool: BlockSpool, hashes: Uint8Array, first: number, signal: AbortSignal, looked: (block: number, bytes: Uint8Array | undefined) => void): Promise<void> {
  const { size } = spool.claimed
  for (let count = 0; count < size && spool.claimed.count > 0; count++) {
    const block = (first + count) % size
    if (!spool.claimed.has(block)) continue
    signal.throwIfAborted()
    const bytes = await spool.readClaimed(block).catch(() => undefined)
    const right = bytes !== undefined && createHash('sha256').update(bytes).digest().equals(digestAt(hashes, block))
    spool.confirm(block, right)
    looked(block, right ? bytes : undefined)
  }
}
