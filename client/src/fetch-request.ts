import type { ShardKey } from '../../src/protocol/shard-key.ts'

/** Bytes of an object: `start` inclusive, `end` exclusive, no end for the rest. */
export interface ClientRange {
  readonly start: number
  readonly end?: number
}

/** The blocks that a range of a shard touches. */
export interface BlockRange {
  /** What is asked for. */
  readonly fetched: Required<ClientRange>
  /** Where the range lies in that: `from` inclusive, `to` exclusive. */
  readonly from: number
  readonly to: number
  /** @throws ShardClientError digest, naming the first block that is wrong */
  readonly verify: (fetched: Uint8Array) => Promise<void>
}

export interface FetchRequest {
  readonly path: string
  readonly range: ClientRange | undefined
  /** Of the range; undefined when it is to be fetched as it is, and not verified. */
  readonly blocks: BlockRange | undefined
  /** What will be asked for next. */
  readonly next?: readonly ShardKey[] | undefined
  /** Bearer token, sent with the request and nowhere else. */
  readonly token: string | undefined
  readonly signal: AbortSignal
  readonly onProgress: ((progress: { readonly receivedBytes: number, readonly totalBytes: number }) => void) | undefined
  readonly verify: boolean
  /** What the whole object must hash to, lower-case hex; stronger than what the response states of itself. */
  readonly sha256: string | undefined
  /** Largest body accepted, bytes. */
  readonly maxBytes: number
  /** The exchange is given up after so many milliseconds without a byte. */
  readonly stallMs: number
  /** The first bytes of {@link blocks}, where earlier attempts broke off: only the rest is asked for, and an attempt that breaks off leaves here what came. */
  readonly kept?: { bytes: Uint8Array }
}
