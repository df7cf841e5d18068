// The erasure decoder, its WebAssembly fetched from beside this file.
import { ReedSolomonErasure } from '@digitaldefiance/reed-solomon-erasure.wasm'

export async function loadErasure () {
  const response = await fetch(new URL('./erasure.wasm', import.meta.url))
  if (!response.ok) throw new Error(`erasure.wasm: ${response.status}`)
  const bytes = new Uint8Array(await response.arrayBuffer())
  return () => ReedSolomonErasure.fromBytes(bytes)
}
