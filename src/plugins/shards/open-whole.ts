import { abortable } from '../../base/abortable.ts'
import type { RequestTrace } from '../../protocol/trace-context.ts'
import type { OpenSource } from './open-shard.ts'

/** How an object is brought in for the relay itself. */
export interface WholeOptions {
  /** `via` members of the request that needs it. */
  readonly via?: readonly string[]
  readonly trace?: RequestTrace | undefined
  /** Whether it is rebuilt when no super-node delivers it. */
  readonly repairs: boolean
  readonly signal: AbortSignal
  /** What of it is needed; all of it without. */
  readonly part?: ByteSpan | undefined
}

/** Part of an object, by positions. */
export interface ByteSpan {
  readonly from: number
  /** Exclusive. */
  readonly to: number
}

/** Waits until all of it is there, or, of a part, until that begins to be, where every byte is verified before it can be read. */
async function ready (source: OpenSource, part: ByteSpan | undefined): Promise<void> {
  if (part !== undefined && source.verified && source.file?.byBlocks === true) await source.read(part.from, 1, part.to)
  else await source.complete()
}

/**
 * Opens an object and waits until all of it is there and verified, or what is needed of it can be read and verified. Wrong bytes are asked for elsewhere.
 * @param looks how often it is opened at most
 * @throws what opening and reading throw; the reason of the signal
 */
export async function openWhole (open: () => Promise<OpenSource>, { signal, part }: Pick<WholeOptions, 'signal' | 'part'>, looks: number): Promise<OpenSource> {
  for (let look = 1; ; look++) {
    signal.throwIfAborted()
    const source = await open()
    try {
      await abortable(ready(source, part), signal)
      return source
    } catch (error) {
      source.release()
      if (!source.wrong() || look === looks) throw error
    }
  }
}
