import { ShardClientError } from './client-error.ts'

/** Brings back missing data shards. */
export interface ErasureDecoder {
  /**
   * @param shards data shards, then parity shards, all of the same length, at most `parityShards` of them undefined
   * @returns all data shards; those that were there are returned as they are
   */
  reconstruct (shards: ReadonlyArray<Uint8Array | undefined>, dataShards: number, parityShards: number): Promise<Uint8Array[]>
}

/** The part of `@digitaldefiance/reed-solomon-erasure.wasm` used here. */
export interface ReedSolomonWasm {
  /** Restores the data shards in place, not the parity shards; 0 when it could. */
  reconstruct (shards: Uint8Array, dataShards: number, parityShards: number, available: boolean[]): number
}

/** Part of a shard decoded in one go, bytes: 14 of them are 14 MiB of WebAssembly memory and about 30 ms of work. */
const SLICE_BYTES = 1024 * 1024

/**
 * Decodes slice by slice, since each byte of a shard depends on the same byte of the others only: memory stays small
 * whatever the shard size, and the page stays alive.
 * @param create gives a new instance, used once: version 1.0.2 frees an argument twice in `reconstruct`, and a second call on
 * the same instance fails or, worse, gives wrong bytes with code 0. An instance costs 0.2 ms.
 * @param pause awaited between slices; gives the event loop a turn
 */
export function wasmDecoder (create: () => ReedSolomonWasm, pause: () => Promise<void>, sliceBytes: number = SLICE_BYTES): ErasureDecoder {
  return {
    async reconstruct (shards, dataShards, parityShards) {
      const size = shards.find(shard => shard !== undefined)?.length ?? 0
      const available = shards.map(shard => shard !== undefined)
      const data = shards.slice(0, dataShards).map(shard => shard ?? new Uint8Array(size))
      for (let offset = 0; offset < size; offset += sliceBytes) {
        const length = Math.min(sliceBytes, size - offset)
        const slice = new Uint8Array(length * shards.length)
        shards.forEach((shard, index) => { if (shard !== undefined) slice.set(shard.subarray(offset, offset + length), index * length) })
        const result = create().reconstruct(slice, dataShards, parityShards, [...available])
        if (result !== 0) throw new ShardClientError('missing', `the erasure decoder failed with code ${result}`)
        data.forEach((shard, index) => { if (available[index] !== true) shard.set(slice.subarray(index * length, (index + 1) * length), offset) })
        await pause()
      }
      return data
    }
  }
}
