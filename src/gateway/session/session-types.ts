import type { StreamOutcome } from '../../channel/gateway-counters.ts'
import type { AnswerContext, ObjectFacts, Origin } from '../../protocol/answer.ts'
import type { ControlMessage, FillingObject } from '../../protocol/control-messages.ts'
import type { RangeSpec } from '../../protocol/range.ts'
import type { RequestTrace } from '../../protocol/trace-context.ts'
import type { ViewerRequest } from './request-codec.ts'
import type { ShardKey } from '../../protocol/shard-key.ts'

/** Bounds of one viewer session; times in milliseconds. */
export interface SessionLimits {
  /** Streams open at the same time; more are reset with `busy`. */
  readonly maxStreams: number
  /** Objects being resolved at the same time; more wait. */
  readonly maxResolving: number
  /** Requests waiting for their turn; more are answered with 429. */
  readonly maxQueued: number
  /** Requests in a second, and in one burst after a quiet one; more are answered with 429. */
  readonly requestsPerSecond: number
  /** From the opening of a stream to the end of its request head. */
  readonly requestTimeoutMs: number
  /** After a whole response, how long the viewer's FIN is awaited before the rest of its half is refused. */
  readonly finWaitMs: number
  /** Longest time one write or FIN may wait for the viewer. */
  readonly writeStallMs: number
  /** Longest time the source may take to resolve, or to give the next bytes. */
  readonly sourceStallMs: number
  /** A session without streams is closed after this. */
  readonly idleTimeoutMs: number
  /** A viewer is told of what it has waited for so long, and again each time so much has passed. */
  readonly fillingMs: number
  /** After this long without a byte to the viewer it gets a ping: engines end sessions that are silent. */
  readonly pingMs: number
  /** Body bytes a session aims to hold while its viewer reads slowly: each read asks for its part of this, within the chunk bounds. */
  readonly bufferBytes: number
  readonly minChunkBytes: number
  /** Asked at every read: it may change while bodies are under way. */
  readonly maxChunkBytes: number
  /** A write accepted within this lets the next read ask for twice as much as the last, up to `maxGrowth` times `maxChunkBytes`. */
  readonly quickWriteMs: number
  readonly maxGrowth: number
  /** After this many streams the viewer is asked to open a new session; 0 for never. */
  readonly retireAfterStreams: number
  /** Time such a viewer has to move. */
  readonly retireDeadlineMs: number
}

export const DEFAULT_SESSION_LIMITS: SessionLimits = {
  // The contract asks for at least 200 concurrent streams a viewer.
  maxStreams: 256,
  // A player asks for the 14 shards of a few videos ahead; more at the same time only moves the queue to the super-nodes.
  maxResolving: 64,
  maxQueued: 192,
  // More than a player asks for in its whole buffer, and as many as may be open at the same time by contract.
  requestsPerSecond: 200,
  requestTimeoutMs: 5_000,
  // Several round trips and a lost packet; a viewer that never sends FIN costs an entry in a map for so long.
  finWaitMs: 1_000,
  // A phone that changes networks is back within this, or it has a new session.
  writeStallMs: 15_000,
  // Above the relay's own upstream timeouts: it only ends what those have missed.
  sourceStallMs: 30_000,
  // A paused player holds its session through a short break.
  idleTimeoutMs: 300_000,
  // A fifth of the time after which clients give up on a relay that says nothing.
  fillingMs: 1_000,
  // The HTTP/3 engine ends a session after 30 s without a packet: two may be lost.
  pingMs: 10_000,
  // 64 streams at the largest chunk; 256 streams get 16 KiB each.
  bufferBytes: 4 * 1024 * 1024,
  minChunkBytes: 16 * 1024,
  // Measured cost per read flattens above 64 KiB, which is also about one window of a 25 Mbit/s path of 20 ms.
  maxChunkBytes: 64 * 1024,
  // 64 KiB in 20 ms are 26 Mbit/s: whoever is slower waits for bytes anyway, and costs the less memory.
  quickWriteMs: 20,
  // The HTTP/3 engine's cost per byte flattens at writes of 256 KiB.
  maxGrowth: 4,
  retireAfterStreams: 0,
  retireDeadlineMs: 30_000
}

/** How the viewer's bandwidth is limited; asked anew before every read. */
export interface SessionPace {
  /** False: nothing is, and reads go without asking. */
  readonly limited: boolean
  /** What the viewer has or would have when busy, bits per second; undefined when nothing limits it. */
  shareBps (): number | undefined
}

/** What a request says of itself besides its credentials. */
export interface AskedFor extends Pick<ViewerRequest, 'method' | 'path'> {
  readonly range: string | undefined
  readonly userAgent: string | undefined
  readonly traceparent: string | undefined
}

/** One stream, reported exactly once, when it is over. Holds no secrets. */
export interface StreamReport {
  readonly outcome: StreamOutcome
  /** 0 when no response was begun. */
  readonly status: number
  /** RELAY_ERR_* where an error was met. */
  readonly code: string | undefined
  /** The error behind `code` for the log; may hold internals that the viewer must not see. */
  readonly cause: unknown
  readonly key: ShardKey | undefined
  /** Of the request as it was sent, for the access log; undefined when none was complete. */
  readonly asked: AskedFor | undefined
  /** Undefined when there was no response that could name it. */
  readonly requestId: string | undefined
  /** Undefined when no object was found. */
  readonly origin: Origin | undefined
  /** Bytes of the object that the engine accepted. */
  readonly bytes: number
  /** Milliseconds from the complete request head to the first byte accepted. */
  readonly firstByteMs: number | undefined
  /** Milliseconds from the complete request head to FIN accepted. */
  readonly totalMs: number | undefined
  /** Milliseconds from the complete request head to this report; 0 without one. */
  readonly elapsedMs: number
}

export interface ViewerSessionStats {
  readonly streams: number
  readonly resolving: number
  readonly queued: number
  /** Objects held. */
  readonly leases: number
  readonly opened: number
  /** Bytes the engine accepted from this session, heads included. */
  readonly bytes: number
  readonly draining: boolean
}

/** What an object was asked for. */
export interface ResolveRequest {
  readonly key: ShardKey
  readonly range: RangeSpec | undefined
  readonly trace: RequestTrace
  /** Secret, never to be logged. */
  readonly token: string | undefined
  /** What it will ask for next, as it says; there only when it does. */
  readonly next?: readonly ShardKey[]
}

/** What happened to one stream. */
export type StreamEvent =
  | { readonly type: 'fin' | 'peer-reset' | 'peer-stopped', readonly id: string }
  | { readonly type: 'bytes', readonly id: string, readonly chunk: Uint8Array }
  | { readonly type: 'resolved', readonly id: string, readonly facts: ObjectFacts, readonly context: Omit<AnswerContext, 'openMs'> }
  | { readonly type: 'rejected' | 'admit-failed' | 'read-failed', readonly id: string, readonly error: unknown }
  | { readonly type: 'read', readonly id: string, readonly chunk: Uint8Array }
  /** So many bytes may be read, at least 1. */
  | { readonly type: 'admitted', readonly id: string, readonly bytes: number }
  /** A write or a FIN was accepted, or will never be. */
  | { readonly type: 'written' | 'write-failed', readonly id: string }

/** What happened to the session. */
export type SessionEvent =
  | { readonly type: 'opened', readonly id: string }
  | { readonly type: 'tick' }
  | { readonly type: 'closed' }
  /** Another number of requests in a second. */
  | { readonly type: 'request-rate', readonly perSecond: number }
  | { readonly type: 'drain', readonly deadlineMs: number, readonly alternates: readonly string[] }

export type SessionAction =
  /** Answered by `resolved` or `rejected`. */
  | { readonly type: 'resolve', readonly id: string, readonly request: ResolveRequest }
  /** Abort what is being resolved, admitted or read. */
  | { readonly type: 'abort', readonly id: string }
  /** Ask for a part of the viewer's bandwidth, 1 to `maxBytes`; answered by `admitted` or `admit-failed`. */
  | { readonly type: 'admit', readonly id: string, readonly maxBytes: number }
  /** Bytes that were admitted and not read. */
  | { readonly type: 'give-back', readonly id: string, readonly bytes: number }
  /** Answered by `read` or `read-failed`. */
  | { readonly type: 'read', readonly id: string, readonly position: number, readonly maxBytes: number }
  /** Answered by `written` or `write-failed`. */
  | { readonly type: 'write', readonly id: string, readonly chunk: Uint8Array }
  | { readonly type: 'end', readonly id: string }
  | { readonly type: 'reset', readonly id: string, readonly code: number }
  /** Read no more of what the viewer sends. */
  | { readonly type: 'cancel', readonly id: string, readonly code: number }
  | { readonly type: 'release', readonly id: string }
  /** The stream is over and nothing of it is outstanding: forget it. */
  | { readonly type: 'forget', readonly id: string }
  | { readonly type: 'report', readonly id: string, readonly report: StreamReport }
  | { readonly type: 'control', readonly message: ControlMessage }
  /** Tell the viewer how far these streams' objects are. */
  | { readonly type: 'filling', readonly streams: ReadonlyArray<{ readonly id: string } & FillingObject> }
  | { readonly type: 'close', readonly code: number, readonly reason: string }
