import type { ReedSolomonWasm } from '../src/erasure.ts'

/** A new instance. */
export declare function newErasure (): ReedSolomonWasm
