import { deferred } from '../../base/deferred.ts'
import type { OpenSource } from './open-shard.ts'

/** How an object is brought in for the relay itself. */
export interface WholeOptions {
  /** `via` members of the request that needs it. */
  readonly via?: readonly string[]
  /** Whether it is rebuilt when no super-node delivers it. */
  readonly repairs: boolean
  readonly signal: AbortSignal
}

/**
 * Opens an object and waits until all of it is there and verified. Wrong bytes are asked for elsewhere.
 * @param looks how often it is opened at most
 * @throws what opening and reading throw; the reason of the signal
 */
export async function openWhole (open: () => Promise<OpenSource>, signal: AbortSignal, looks: number): Promise<OpenSource> {
  const aborted = deferred<never>()
  aborted.promise.catch(() => {})
  const abort = (): void => { aborted.reject(signal.reason) }
  signal.addEventListener('abort', abort)
  try {
    for (let look = 1; ; look++) {
      if (signal.aborted) throw signal.reason
      const source = await open()
      try {
        await Promise.race([source.complete(), aborted.promise])
        return source
      } catch (error) {
        source.release()
        if (!source.wrong() || look === looks) throw error
      }
    }
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
