import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { ReedSolomonErasure } from '@digitaldefiance/reed-solomon-erasure.wasm'
import { DATA_SHARDS, PARITY_SHARDS, TOTAL_SHARDS } from '../../protocol/shard-key.ts'

/** Bytes of each shard worked on in one call: the memory of WebAssembly stays at 14 times that, whatever the length of the pieces. */
export const STRIPE_BYTES = 65_536

/** The same rows of the 14 shards of a video, undefined where they are not known. */
export type Pieces = ReadonlyArray<Uint8Array | undefined>

let wasm: Buffer<ArrayBuffer> | undefined
let encoder: ReedSolomonErasure | undefined

/** A codec of its own. */
export function newCodec (): ReedSolomonErasure {
  // The loader of the package uses `__dirname`, which modules lack.
  wasm ??= readFileSync(createRequire(import.meta.url).resolve('@digitaldefiance/reed-solomon-erasure.wasm/wasm'))
  return ReedSolomonErasure.fromBytes(wasm)
}

/** @throws Error with what the library says */
export function checkCode (result: number): void {
  if (result !== ReedSolomonErasure.RESULT_OK) throw new Error(`Reed-Solomon: ${ReedSolomonErasure.getResultMessage(result)}`)
}

/**
 * Parity of one stripe.
 * @param stripe 14 equal columns in a row, the ten data columns filled in; the four parity columns are written in place
 */
export function encodeStripe (stripe: Uint8Array): void {
  checkCode((encoder ??= newCodec()).encode(stripe, DATA_SHARDS, PARITY_SHARDS))
}

/**
 * The code of the super-nodes: Reed-Solomon over GF(2^8) with the polynomial 0x11d, ten data and four parity shards, a Vandermonde matrix times the inverse
 * of its top square. Runs where it is called, at 150 to 250 MB of data a second.
 * @param pieces at least ten of one length; see {@link checkRebuild}
 * @param wanted numbers of shards that are not among them
 * @returns the same rows of the shards that are wanted, in that order, in memory of their own
 */
export function rebuildPieces (pieces: Pieces, wanted: readonly number[]): Uint8Array<ArrayBuffer>[] {
  const size = pieces.find(piece => piece !== undefined)?.length ?? 0
  const available = pieces.map(piece => piece !== undefined)
  const dataMissing = available.slice(0, DATA_SHARDS).includes(false)
  const parityWanted = wanted.some(shard => shard >= DATA_SHARDS)
  const rebuilt = wanted.map(() => new Uint8Array(size))
  for (let start = 0; start < size; start += STRIPE_BYTES) {
    const width = Math.min(STRIPE_BYTES, size - start)
    const stripe = new Uint8Array(width * TOTAL_SHARDS)
    for (const [shard, piece] of pieces.entries()) if (piece !== undefined) stripe.set(piece.subarray(start, start + width), shard * width)
    // `reconstruct` of 1.0.2 frees its flags twice, which breaks the heap of its instance: one serves one call. It restores data shards only.
    if (dataMissing) checkCode(newCodec().reconstruct(stripe, DATA_SHARDS, PARITY_SHARDS, [...available]))
    if (parityWanted) encodeStripe(stripe)
    for (const [at, shard] of wanted.entries()) rebuilt[at]?.set(stripe.subarray(shard * width, (shard + 1) * width), start)
  }
  return rebuilt
}
