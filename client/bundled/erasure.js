// The erasure decoder; the build puts its WebAssembly into this file, so that no bundler, server or content policy has to know of another one.
import { ReedSolomonErasure } from '@digitaldefiance/reed-solomon-erasure.wasm/browser'
import wasm from '@digitaldefiance/reed-solomon-erasure.wasm/wasm'

export const newErasure = () => ReedSolomonErasure.fromBytes(wasm)
