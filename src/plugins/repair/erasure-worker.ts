/** The thread in which shards are rebuilt: one job after the other, see `erasure.ts`. */
import { parentPort } from 'node:worker_threads'
import { rebuildPieces, type Pieces } from './erasure-code.ts'

/** A job for the thread. */
export interface ErasureJob {
  readonly pieces: Pieces
  readonly wanted: readonly number[]
}

/** What came of it. */
export type ErasureResult = { readonly rebuilt: Uint8Array<ArrayBuffer>[] } | { readonly failed: string }

parentPort?.on('message', ({ pieces, wanted }: ErasureJob) => {
  let result: ErasureResult
  try {
    result = { rebuilt: rebuildPieces(pieces, wanted) }
  } catch (error) {
    result = { failed: error instanceof Error ? error.message : String(error) }
  }
  parentPort?.postMessage(result, 'rebuilt' in result ? result.rebuilt.map(({ buffer }) => buffer) : [])
})
