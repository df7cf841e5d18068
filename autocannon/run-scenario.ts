import type { Cleanup } from '../tools/harness/cleanup.ts'
import { mergedHistogram } from './histogram.ts'
import type { HttpOrder, HttpOutcome } from './http-process.ts'
import { hitRatioBetween, relayCounters } from './relay-counters.ts'
import { Profiler } from './profile/profiler.ts'
import { ProcessMeter, relayProcesses } from './process-meter.ts'
import { completeResult, type LoadResult } from './result.ts'
import { loadSettings, startRig, type Rig, type RigOptions } from './rig.ts'
import type { Scenario } from './scenario.ts'
import { verifySample } from './verify.ts'
import { warm } from './warm.ts'
import { WorkerProcess } from './worker-process.ts'

export interface ScenarioOptions extends RigOptions {
  /** Length of the measured part, seconds. */
  readonly seconds: number
  /** So many answers end the run instead of time. */
  readonly requests?: number | undefined
  /** That of the scenario when undefined. */
  readonly connections?: number | undefined
  readonly seed: number
}

/** Compilers and congestion windows have come to rest by then. */
const WARM_UP_SHARE = 0.2
const WARM_UP_MAX_SECONDS = 2

/** Runs one scenario against processes of its own. @throws Error when a process cannot be started, ends early, or warming fails */
export async function runScenario (cleanup: Cleanup, scenario: Scenario, options: ScenarioOptions): Promise<LoadResult> {
  const faults = { ...scenario.faults, ...options.faults }
  const rig = await startRig(cleanup, { ...options, faults, settings: loadSettings(scenario.relay, options.settings) })
  return await loadRig(rig, httpWorker(cleanup), scenario, options)
}

export type HttpWorker = WorkerProcess<HttpOrder, HttpOutcome>

/** Autocannon, in a process that ends with the cleanup. */
export function httpWorker (cleanup: Cleanup): HttpWorker {
  return new WorkerProcess<HttpOrder, HttpOutcome>(cleanup, 'http-process.ts')
}

/** Runs one scenario against a relay that runs already, as it is configured. */
export async function loadRig ({ relay, profile }: Rig, worker: HttpWorker, scenario: Scenario, options: ScenarioOptions): Promise<LoadResult> {
  const { mix, expect } = scenario
  // A connection without a request to make has nothing to do.
  const connections = Math.min(options.connections ?? scenario.connections, options.requests ?? Infinity)
  const url = scenario.surface === 'admin' ? relay.adminUrl : relay.viewerUrl
  if (scenario.warm) await warm(url, mix)
  const order = { url, mix, expect, connections }
  const { requests: amount } = options
  const warmUp = amount === undefined ? { seconds: Math.min(WARM_UP_MAX_SECONDS, options.seconds * WARM_UP_SHARE) } : { requests: connections }
  await worker.run({ ...order, ...warmUp, seed: options.seed })

  const startedAt = new Date().toISOString()
  const before = await relayCounters(relay.adminUrl)
  const processes = await relayProcesses(relay)
  const profiler = profile === undefined ? undefined : await Profiler.start(profile, processes)
  const meter = await ProcessMeter.start(processes)
  // Another seed than the warm-up's: its fresh objects are no longer fresh.
  const outcome = await worker.run({ ...order, ...(amount === undefined ? { seconds: options.seconds } : { requests: amount }), seed: options.seed + 1 })
  const servers = await meter.stop()
  const profiles = await profiler?.stop(scenario.name)
  const after = await relayCounters(relay.adminUrl)
  const verified = await verifySample(url, mix, expect, options.seed + 2)
  const { seconds, requests, statuses, unexpected, errors, errorTexts, bytes } = outcome
  return completeResult({
    scenario: scenario.name,
    startedAt,
    settings: { connections, ...(amount === undefined ? { seconds: options.seconds } : { requests: amount }), seed: options.seed, superNodes: options.superNodes ?? 1, ...flat(options.settings) },
    seconds,
    requests,
    statuses,
    unexpected,
    errors,
    errorTexts,
    bytes,
    latencyMs: mergedHistogram([outcome.latency]).times(),
    firstByteMs: mergedHistogram([outcome.firstByte]).times(),
    servers,
    hitRatio: hitRatioBetween(before, after),
    verified,
    ...(profiles === undefined ? {} : { profiles }),
    generator: { processes: 1, cpuMs: outcome.cpuMs, busiest: outcome.cpuMs / (seconds * 1_000), loopDelayP99Ms: null }
  })
}

/** Settings of the relay by dotted name, for the record. */
export function flat (settings: RigOptions['settings']): Record<string, string | number | boolean> {
  const entries = Object.entries(settings ?? {}).flatMap(([section, keys]) => Object.entries(keys).map(([key, value]) => [`${section}.${key}`, value] as const))
  return Object.fromEntries(entries.map(([name, value]) => [name, typeof value === 'number' || typeof value === 'boolean' ? value : typeof value === 'string' ? value : JSON.stringify(value)]))
}
