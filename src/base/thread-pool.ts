/** Threads that Node has for files, names and compression: what it starts with when nobody says. */
const DEFAULT_THREADS = 4
/** What the relay starts with: enough that some may hang on a disk without the others waiting. */
export const WANTED_THREADS = 16

/** Threads of this process. Node reads the variable once, before the first module: setting it later changes nothing. */
export const POOL_THREADS = Math.max(1, Math.min(1_024, Number(process.env['UV_THREADPOOL_SIZE'] ?? DEFAULT_THREADS) || DEFAULT_THREADS))

/** Threads of the pool that the disk may have at the same time; the rest is for names and the log. */
export function diskThreads (threads: number): number {
  return Math.max(1, threads - Math.max(1, Math.floor(threads / 8)))
}
