import { setFlagsFromString } from 'node:v8'

/**
 * How far V8's heap may grow before the collector marks all of it, in percent of what was alive the last time. V8 decides that itself, from
 * 10 % for a heap that hardly grows up to this.
 */
export const HEAP_GROWING_PERCENT = 300

/**
 * Lets the heap of this process grow as far as V8 ever does. To V8, memory of socket reads counts like objects: in a process whose heap is small and still,
 * as after an hour of hits, the collector marked all of it for every 8 MB received, which was a third of the CPU of a miss. See
 * docs/decisions/0012-heap-growth.md.
 */
export function growHeapFreely (): void {
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWING_PERCENT}`)
}
