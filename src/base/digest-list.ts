/* SHA-256 digests (FIPS 180-4) of the blocks of something, one after the other. */

export const DIGEST_BYTES = 32

/** The digest of a block, counted from 0. */
export function digestAt (digests: Uint8Array, block: number): Uint8Array {
  return digests.subarray(block * DIGEST_BYTES, (block + 1) * DIGEST_BYTES)
}
