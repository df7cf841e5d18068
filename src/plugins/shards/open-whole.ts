import { abortable } from '../../base/abortable.ts'
import type { OpenSource } from './open-shard.ts'

/** How an object is brought in for the relay itself. */
export interface WholeOptions {
  /** `via` members of the request that needs it. */
  readonly via?: readonly string[]
  /** Whether it is rebuilt when no super-node delivers it. */
  readonly repairs: boolean
  readonly signal: AbortSignal
}

/** Part of an object, by positions. */
export interface ByteSpan {
  readonly from: number
  /** Exclusive. */
  readonly to: number
}

/** Waits until what is asked for begins to be there, where every byte is verified before it can be read; elsewhere until all of it is there. */
export async function partReady (source: OpenSource, { from, to }: ByteSpan): Promise<void> {
  if (source.verified && source.file?.byBlocks !== false) await source.read(from, 1, to)
  else await source.complete()
}

/**
 * Opens an object and waits until it is as it is wanted: all of it there and verified, by default. Wrong bytes are asked for elsewhere.
 * @param looks how often it is opened at most
 * @throws what opening and reading throw; the reason of the signal
 */
export async function openWhole (open: () => Promise<OpenSource>, signal: AbortSignal, looks: number, ready: (source: OpenSource) => Promise<void> = async source => { await source.complete() }): Promise<OpenSource> {
  for (let look = 1; ; look++) {
    signal.throwIfAborted()
    const source = await open()
    try {
      await abortable(ready(source), signal)
      return source
    } catch (error) {
      source.release()
      if (!source.wrong() || look === looks) throw error
    }
  }
}
