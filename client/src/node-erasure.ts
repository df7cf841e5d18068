/* From the sources; the build puts `bundled/erasure.js` in the place of this file. */
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import type { ReedSolomonWasm } from './erasure.ts'

const PACKAGE = '@digitaldefiance/reed-solomon-erasure.wasm'

const { ReedSolomonErasure } = await import(PACKAGE) as { ReedSolomonErasure: { fromBytes (bytes: Uint8Array): ReedSolomonWasm } }
// The package's own loader uses `__dirname`, which modules lack.
const wasm = await readFile(createRequire(import.meta.url).resolve(`${PACKAGE}/wasm`))

/** A new instance. */
export const newErasure = (): ReedSolomonWasm => ReedSolomonErasure.fromBytes(wasm)
