import { checkCode, encodeStripe, newCodec, STRIPE_BYTES } from '../../src/plugins/repair/erasure-code.ts'
import { DATA_SHARDS, PARITY_SHARDS, TOTAL_SHARDS } from '../../src/protocol/shard-key.ts'

export { encodeStripe, STRIPE_BYTES }

function shardSizeOf (shards: ReadonlyArray<Uint8Array | undefined>): number {
  const size = shards.find(shard => shard !== undefined)?.length ?? 0
  if (size === 0 || shards.some(shard => shard !== undefined && shard.length !== size)) {
    throw new RangeError('all shards must have the same size, at least one byte')
  }
  return size
}

/**
 * The four parity shards of ten data shards.
 * @throws RangeError when there are not ten shards of one size
 */
export function encodeParity (data: readonly Uint8Array[]): Buffer[] {
  if (data.length !== DATA_SHARDS) throw new RangeError(`${DATA_SHARDS} data shards are needed, got ${data.length}`)
  const size = shardSizeOf(data)
  const parity = Array.from({ length: PARITY_SHARDS }, () => Buffer.alloc(size))
  for (let start = 0; start < size; start += STRIPE_BYTES) {
    const width = Math.min(STRIPE_BYTES, size - start)
    const stripe = new Uint8Array(width * TOTAL_SHARDS)
    for (const [index, shard] of data.entries()) stripe.set(shard.subarray(start, start + width), index * width)
    encodeStripe(stripe)
    for (const [index, shard] of parity.entries()) {
      const at = (DATA_SHARDS + index) * width
      shard.set(stripe.subarray(at, at + width), start)
    }
  }
  return parity
}

/**
 * Splits media into ten zero-padded data shards of `ceil(size / 10)` bytes and adds the four parity shards.
 * @throws RangeError when `media` is empty
 */
export function encodeShards (media: Uint8Array): Buffer[] {
  if (media.length === 0) throw new RangeError('empty media cannot be sharded')
  const size = Math.ceil(media.length / DATA_SHARDS)
  const data = Array.from({ length: DATA_SHARDS }, (_, index) => {
    const shard = Buffer.alloc(size)
    shard.set(media.subarray(index * size, (index + 1) * size))
    return shard
  })
  return [...data, ...encodeParity(data)]
}

/**
 * All 14 shards from any ten of them; a missing one is undefined.
 * @throws RangeError when there are not 14 places or the sizes differ; Error when more than four shards are missing
 */
export function reconstructShards (shards: ReadonlyArray<Uint8Array | undefined>): Buffer[] {
  if (shards.length !== TOTAL_SHARDS) throw new RangeError(`${TOTAL_SHARDS} places are needed, got ${shards.length}`)
  const size = shardSizeOf(shards)
  const available = shards.map(shard => shard !== undefined)
  const data = Array.from({ length: DATA_SHARDS }, () => Buffer.alloc(size))
  for (let start = 0; start < size; start += STRIPE_BYTES) {
    const width = Math.min(STRIPE_BYTES, size - start)
    const stripe = new Uint8Array(width * TOTAL_SHARDS)
    for (const [index, shard] of shards.entries()) if (shard !== undefined) stripe.set(shard.subarray(start, start + width), index * width)
    // reconstruct() of 1.0.2 frees its flags twice and breaks the heap of its instance, so an instance serves one call (0.1 ms).
    checkCode(newCodec().reconstruct(stripe, DATA_SHARDS, PARITY_SHARDS, available))
    for (const [index, shard] of data.entries()) shard.set(stripe.subarray(index * width, (index + 1) * width), start)
  }
  // The library restores data shards only; parity comes back by encoding again.
  return [...data, ...encodeParity(data)]
}
