/** What the load generator tells its viewer processes, and what they answer. */
import type { TransportName } from '../../client/src/transports.ts'
import type { Mix } from '../request-mix.ts'
import type { ArrivalKind } from './schedule.ts'

export interface OpenOrder {
  readonly type: 'open'
  readonly relayUrl: string
  readonly transport: TransportName
  readonly sessions: number
  /** Number of the first session among those of all processes. */
  readonly firstSlot: number
  /** The sessions are opened evenly within this time, milliseconds. */
  readonly rampMs: number
  /** Requests of one session under way at the same time. */
  readonly streams: number
}

export interface OpenOutcome {
  readonly opened: number
  readonly failed: number
  /** Discovery and handshake, from the time the session was due; an encoded histogram. */
  readonly handshake: string
  readonly errorTexts: readonly string[]
}

export interface PlaybackOrder {
  readonly bitsPerSecond: number
  /** Video kept in store, milliseconds. */
  readonly targetMs: number
  /** Viewers press play evenly within this time, milliseconds. */
  readonly spreadMs: number
  /** Viewers of all processes. */
  readonly viewers: number
}

export interface LoadOrder {
  readonly type: 'load'
  readonly mix: Mix
  /** Body length of every answer. */
  readonly bytes: number
  readonly seconds: number
  readonly seed: number
  readonly streams: number
  /** Mean time between two requests of one stream, milliseconds; 0 is a closed loop, the next request follows its answer. */
  readonly gapMs: number
  readonly arrivals: ArrivalKind
  /** In a closed loop, so many requests of each stream end the run instead of `seconds`. */
  readonly requestsPerStream?: number
  readonly playback?: PlaybackOrder
}

export interface LoadOutcome {
  readonly seconds: number
  readonly requests: number
  readonly statuses: Readonly<Record<string, number>>
  readonly unexpected: number
  readonly errors: number
  readonly errorTexts: readonly string[]
  readonly bytes: number
  /** Encoded histograms. */
  readonly latency: string
  readonly firstByte: string
  readonly startup: string
  readonly stalls: number
  readonly stalledMs: number
  readonly viewersStalled: number
  readonly playedMs: number
  /** Sessions that had to be opened again. */
  readonly lost: number
  readonly cpuMs: number
  readonly loopDelayP99Ms: number
}

/** Compares a sample of bodies with the true ones, over the sessions of the process, after the measured part. */
export interface VerifyOrder {
  readonly type: 'verify'
  readonly mix: Mix
  readonly seed: number
  readonly samples: number
}

export interface VerifyOutcome {
  readonly bodies: number
  readonly wrong: number
}

export interface CloseOrder { readonly type: 'close' }

export type ViewerOrder = OpenOrder | LoadOrder | VerifyOrder | CloseOrder
export type ViewerOutcome = OpenOutcome | LoadOutcome | VerifyOutcome | Record<string, never>
