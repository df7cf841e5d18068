import type { Clock, Timers } from '../../base/clock.ts'
import type { RelayError } from '../../base/errors.ts'
import type { RequestTrace } from '../../protocol/trace-context.ts'
import type { Denies } from '../denylist/denylist.ts'
import type { NodeResponse, Oddity, Resume } from './answer.ts'
import type { CircuitAttempt } from './circuit.ts'
import type { FitnessPolicy, HealthState, NodeState } from './node-state.ts'
import type { SiblingsOptions } from './rendezvous.ts'
import type { SuperNode } from './super-node.ts'

export interface UpstreamOptions {
  /** CIDs that are never asked for; none by default. */
  readonly denies?: Denies | undefined
  /** Our region; '' when unknown. */
  readonly region: () => string
  /** Path of a shard with `{cid}`, `{n}` and `{nn}` (two digits). */
  readonly shardPath: string
  /** Path of a manifest with `{cid}`. */
  readonly manifestPath: string
  readonly connectionsPerNode: number
  readonly connectTimeoutMs: number
  readonly headersTimeoutMs: number
  readonly bodyTimeoutMs: number
  /** What a body must bring on average over {@link bodyTimeoutMs}, bits per second; 0 for any pace. */
  readonly leastBodyBps: number
  /** Time until a node has answered, whatever number of them was asked, ms. */
  readonly firstByteTimeoutMs: number
  readonly hedge: HedgePolicy
  readonly fitness: FitnessPolicy
  /** Health checks of every node, ms. */
  readonly health: { readonly intervalMs: number, readonly timeoutMs: number }
  /** How long an object that no node has is taken for missing, ms; 0 asks every time. */
  readonly negativeTtlMs: number
  /** Our name in `via`; without one, none is sent. */
  readonly pseudonym?: string
  /** Relays of our own tier that are asked before the origins. */
  readonly siblings?: SiblingsOptions
  readonly clock: Clock
  /** For silence in the middle of a body; those of the process by default. */
  readonly timers?: Timers
  /** In [0, 1). */
  readonly random: () => number
  readonly observer: UpstreamObserver
  readonly log: (level: 'info' | 'warn', message: string, fields: Record<string, unknown>) => void
}

/** Nodes that were asked for an object and have neither answered nor been given up. */
export type AskedNodes = Set<SuperNode>

/** Part of an object that is known, and verified block by block: whoever sends it, nothing need tell that it is of the same version. */
export interface WantedPart {
  readonly from: number
  /** Exclusive. */
  readonly to: number
  /** Of the whole object, bytes. */
  readonly size: number
  /** Of the whole object, lower-case hex. */
  readonly sha256: string
}

export interface UpstreamFetchOptions {
  /** All of the object without it. */
  readonly part?: WantedPart | undefined
  /** `via` members of the request that needs the object. */
  readonly via?: readonly string[]
  /** What goes along with every request of it. */
  readonly trace?: RequestTrace | undefined
  /** Kept up to date while the fetch waits for an answer. */
  readonly asked?: AskedNodes | undefined
  /** Whether anybody waits for the object; one that nobody waits for is given up when its connection is needed. */
  readonly wanted?: (() => boolean) | undefined
  /**
   * SHA-256 of the bytes that were taken from the body so far, lower-case hex. A node that sends an object from its start again must begin with
   * the same; without this, that is not checked.
   */
  readonly soFar?: (() => string) | undefined
  /** Whether the node with this id must not be asked for the object; none by default. */
  readonly avoids?: ((node: string) => boolean) | undefined
}

/** When a second node is asked beside one that is late. */
export interface HedgePolicy {
  /** Bounds of how long a node may take before the next is asked as well, ms. */
  readonly minMs: number
  readonly maxMs: number
  /** Further requests as a share of all, 0 to 1. */
  readonly budget: number
  /** Further requests that may come together after a calm time. */
  readonly burst: number
  /** Nodes asked at the same time for one object. */
  readonly maxParallel: number
}

export const ATTEMPT_OUTCOMES = ['ok', 'not_found', 'timeout', 'unreachable', 'status', 'protocol', 'body', 'version', 'corrupt', 'aborted', 'local'] as const

export type AttemptOutcome = (typeof ATTEMPT_OUTCOMES)[number]

/** What the upstream reports to metrics; implementations must not throw. */
export interface UpstreamObserver {
  /** One request to one node; `ms` from request to response head, or to the failure. */
  attempt (node: string, outcome: AttemptOutcome, ms: number): void
  healthCheckFailed (node: string): void
  /** A request that was sent because another was late. */
  hedged (outcome: 'won' | 'lost'): void
  /** A body that broke off, and whether another node had the rest. */
  resumed (outcome: 'ok' | 'failed'): void
  /** Bytes of a body that a node has sent, told at its end. */
  received (node: string, bytes: number): void
  /** An answer was taken although something is odd about it. */
  oddAnswer (node: string, oddity: Oddity): void
  /** The node is on no list any more and its last body has ended; nothing else is told of it unless it comes back. */
  nodeGone (node: string): void
}

/** An object on its way from a super-node; the body must be read or destroyed, and its end reported. */
export interface UpstreamObject {
  readonly node: string
  /** Everyone who has sent part of the body so far. */
  readonly senders: readonly string[]
  readonly region: string
  /** From request to response head, failed attempts included, ms. */
  readonly headMs: number
  readonly size: number | undefined
  readonly sha256: string | undefined
  readonly sha512: string | undefined
  /** Whether no node sent it: it was rebuilt from siblings. */
  readonly repaired?: boolean
  /** Whether it may be kept; known when the body has ended. */
  readonly storable: boolean
  /** How old it was when it was sent, ms; 0 by default. */
  readonly ageMs?: number
  readonly body: AsyncIterable<Buffer> & { destroy (): unknown }
  /** Bytes of the object before the first of {@link body}; none by default. */
  readonly offset?: number
  /** The body could not be used; counts against the node. Returns the error to go on with. */
  failed (error: unknown): RelayError
}

export interface NodeStatus {
  readonly id: string
  readonly url: string
  readonly region: string
  readonly state: NodeState
  /** What `state` is once an operator enables the node; null while it is disabled and nobody looks. */
  readonly health: HealthState | null
  /** Smoothed time to response head, ms. */
  readonly latencyMs: number | null
  /** 95th percentile of that time, ms. */
  readonly p95Ms: number | null
  readonly failures: number
  readonly connections: SuperNode['connections']
}

export interface NodeAnswer {
  readonly node: SuperNode
  readonly attempt: CircuitAttempt
  readonly response: NodeResponse
  readonly release: () => void
}

/** A request to one node. */
export interface NodeRunner {
  readonly node: SuperNode
  readonly attempt: CircuitAttempt
  /** Monotonic ms since when it waits for the node; undefined while it waits for one of our connections. */
  assignedAt: number | undefined
}

export interface RequestOptions {
  readonly cid: string
  /** Header fields. */
  readonly fields: Readonly<Record<string, string>>
  /** Asked before all others. */
  readonly preferred: readonly SuperNode[]
  readonly deadlineMs: number
  readonly resume?: Resume | undefined
  readonly asked?: AskedNodes | undefined
  readonly wanted?: (() => boolean) | undefined
  readonly avoids?: ((node: string) => boolean) | undefined
  /** The node to ask after all others. */
  readonly last?: SuperNode
}
