/** What every load program of this repository writes, whatever it asked and whoever answered: one format, one table. */
import type { ProcessProfile } from './profile/profiler.ts'
import { cpus, release, totalmem } from 'node:os'

/** Bytes of an MB everywhere in load tests: 10^6, as networks count. */
export const MB = 1_000_000

/** A distribution of times, milliseconds; all zero when nothing was recorded. */
export interface Times {
  readonly count: number
  readonly mean: number
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly p999: number
  readonly max: number
}

/** What one server process used during the run. */
export interface ProcessUse {
  /** `relay`, `gateway`, `nginx`, … */
  readonly name: string
  /** User and system time, all threads. */
  readonly cpuMs: number
  /** Resident memory: when the run began, at its end, and the most that was seen. */
  readonly rssStartBytes: number
  readonly rssEndBytes: number
  readonly rssMaxBytes: number
}

/** The load generator itself: where it was short of CPU, the numbers are about it and not about the server. */
export interface GeneratorUse {
  readonly processes: number
  readonly cpuMs: number
  /** Share of one core that the busiest process used, 0 to 1. */
  readonly busiest: number
  /** How late the event loop of the worst process was; in all measured times of that process. Null where it is not known. */
  readonly loopDelayP99Ms: number | null
}

export interface Machine {
  readonly cores: number
  readonly cpu: string
  readonly memoryBytes: number
  readonly kernel: string
  readonly node: string
}

/** Viewers with a video each; only of runs in playback mode. */
export interface PlaybackResult {
  /** From asking for the first shard until the video plays. */
  readonly startupMs: Times
  readonly stalls: number
  readonly stalledMs: number
  readonly viewersStalled: number
  /** Seconds of video played by all viewers together. */
  readonly playedSeconds: number
}

/** Sessions that stay open while they fetch; only of runs over WebTransport or WebSocket. */
export interface SessionsResult {
  readonly opened: number
  readonly failed: number
  /** Lost before the run was over. */
  readonly lost: number
  /** Discovery over HTTP and handshake, from the time the session was due. */
  readonly handshakeMs: Times
  /** Growth of the servers' resident memory from before the first session until all were open and idle, per session. */
  readonly rssPerSessionBytes: number
}

export interface LoadResult {
  readonly version: 1
  readonly scenario: string
  /** ISO 8601. */
  readonly startedAt: string
  readonly machine: Machine
  /** Everything that was chosen for the run, by name. */
  readonly settings: Readonly<Record<string, string | number | boolean>>
  /** Length of the measured part, without warm-up. */
  readonly seconds: number
  /** Complete answers, whatever their status. */
  readonly requests: number
  readonly statuses: Readonly<Record<string, number>>
  /** Answers outside 200 to 299. */
  readonly non2xx: number
  /** Answers with another status or body length than the scenario expects. */
  readonly unexpected: number
  /** Requests without a complete answer. */
  readonly errors: number
  /** The first few kinds of errors, for people. */
  readonly errorTexts: readonly string[]
  /** Body bytes received, those of answers that the end of the run cut off included: the servers' CPU went into them too. */
  readonly bytes: number
  /** Until the last byte; in open-loop runs from the time the request was due. */
  readonly latencyMs: Times
  /** Until the response head or the first body byte; null where it is not known. */
  readonly firstByteMs: Times | null
  readonly requestsPerSecond: number
  readonly mbPerSecond: number
  readonly servers: readonly ProcessUse[]
  /** CPU of all `servers` per MB of body; null when no body moved. */
  readonly serverCpuMsPerMb: number | null
  readonly serverCpuMsPerRequest: number | null
  /** Share of objects that the cache served, as the server counts; null where it does not. */
  readonly hitRatio: number | null
  /** Bodies compared with what the origin holds, outside the measured loop. */
  readonly verified: { readonly bodies: number, readonly wrong: number }
  readonly generator: GeneratorUse
  readonly sessions?: SessionsResult
  readonly playback?: PlaybackResult
  /** Of `servers`, only of runs with `--profile`; the numbers of such a run contain the profiler's own cost. */
  readonly profiles?: readonly ProcessProfile[]
}

/** What a run measured; {@link completeResult} adds what follows from it. */
export type Measured = Omit<LoadResult, 'version' | 'machine' | 'requestsPerSecond' | 'mbPerSecond' | 'serverCpuMsPerMb' | 'serverCpuMsPerRequest' | 'non2xx'>

export function thisMachine (): Machine {
  return { cores: cpus().length, cpu: cpus()[0]?.model ?? 'unknown', memoryBytes: totalmem(), kernel: release(), node: process.version }
}

function per (value: number, divisor: number): number | null {
  return divisor > 0 ? value / divisor : null
}

/** Adds rates and costs to what was measured. */
export function completeResult (measured: Measured): LoadResult {
  const cpuMs = measured.servers.reduce((sum, server) => sum + server.cpuMs, 0)
  return {
    version: 1,
    machine: thisMachine(),
    ...measured,
    non2xx: Object.entries(measured.statuses).reduce((sum, [status, count]) => sum + (/^2\d\d$/.test(status) ? 0 : count), 0),
    requestsPerSecond: per(measured.requests, measured.seconds) ?? 0,
    mbPerSecond: per(measured.bytes / MB, measured.seconds) ?? 0,
    serverCpuMsPerMb: per(cpuMs, measured.bytes / MB),
    serverCpuMsPerRequest: per(cpuMs, measured.requests)
  }
}

/** Whether every request of a run got the answer it should get. */
export function isClean (result: LoadResult): boolean {
  return result.requests > 0 && result.errors === 0 && result.unexpected === 0 && result.verified.wrong === 0 && (result.sessions?.failed ?? 0) === 0
}
