/* What every client loads. The build makes one file of it; the parts that are loaded later find in that file what they share with it. */
export * from './library.ts'
export * from './client-error.ts'
export { bytesOfBase64, hexOf } from '../../src/protocol/repr-digest.ts'
export { DATA_SHARDS, PARITY_SHARDS, TOTAL_SHARDS } from '../../src/protocol/shard-key.ts'
export { FIRST_PATIENCE_MS, MAX_STREAMS } from './session-count.ts'
export { PrioritySlots } from './priority-slots.ts'
export { abortable, linkedAbort, onAbort } from './waiting.ts'
