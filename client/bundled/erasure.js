// The erasure decoder; the build puts its WebAssembly into this file, in base64, so that no bundler, server or content policy has to know of another one.
import { ReedSolomonErasure } from '@digitaldefiance/reed-solomon-erasure.wasm/browser'
import wasm from '@digitaldefiance/reed-solomon-erasure.wasm/wasm'

const bytes = Uint8Array.from(atob(wasm), character => character.charCodeAt(0))

export const newErasure = () => ReedSolomonErasure.fromBytes(bytes)
