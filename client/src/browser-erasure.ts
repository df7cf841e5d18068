import { newErasure } from '../bundled/erasure.js'
import { wasmDecoder } from './erasure.ts'
import type { ErasureDecoder } from './erasure.ts'

/** The erasure decoder in a browser. An empty task between slices keeps the page alive while it works. */
export function browserErasure (): ErasureDecoder {
  return wasmDecoder(newErasure, () => new Promise(resolve => { setTimeout(resolve) }))
}
