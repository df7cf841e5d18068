import type { ObjectFacts } from '../../protocol/answer.ts'
import type { RangeSpec } from '../../protocol/range.ts'
import type { RequestTrace } from '../../protocol/trace-context.ts'
import type { ShardKey } from '../../protocol/shard-key.ts'

/** An object held for one response. */
export interface ShardLease extends ObjectFacts {
  readonly body: {
    /**
     * 1 to `maxBytes` bytes from `position` of the object; waits for a fill in progress. One read at a time. The bytes stay
     * unchanged until the lease is released. Settles soon after the signal given to `resolve` aborts.
     * @throws RelayError when the object is corrupt or cannot be completed
     */
    read (position: number, maxBytes: number): Promise<Uint8Array>
  }
  /** Bytes of the object that are there, from its start; all of them where it does not say. */
  readonly readable?: number
  /** Called exactly once, never while a read is outstanding. Must not throw. */
  release (): void
}

export interface ResolveOptions {
  /** What the viewer wants of it, to be used as a hint. */
  readonly range: RangeSpec | undefined
  readonly trace?: RequestTrace | undefined
  /** What the viewer will ask for next, and may have. */
  readonly next?: readonly ShardKey[] | undefined
  /** Aborts resolving and reading when the viewer is gone. */
  readonly signal: AbortSignal
}

/** Where the sessions of a gateway get their objects from. */
export interface ShardSource {
  /** @throws RelayError when there is no such object or it cannot be had */
  resolve (key: ShardKey, options: ResolveOptions): Promise<ShardLease>
}
