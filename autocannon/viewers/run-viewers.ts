import type { TransportName } from '../../client/src/transports.ts'
import type { Cleanup } from '../../tools/harness/cleanup.ts'
import { Profiler } from '../profile/profiler.ts'
import { ProcessMeter, relayProcesses } from '../process-meter.ts'
import { hitRatioBetween, relayCounters } from '../relay-counters.ts'
import { syntheticRequests, type Mix } from '../request-mix.ts'
import { completeResult, type LoadResult, type ProcessUse } from '../result.ts'
import { loadSettings, startRig, type Rig, type RigOptions } from '../rig.ts'
import { flat } from '../run-scenario.ts'
import { warm } from '../warm.ts'
import { ViewerFleet } from './fleet.ts'
import type { ArrivalKind } from './schedule.ts'

export interface ViewersOptions extends RigOptions {
  readonly transport: TransportName
  readonly processes: number
  readonly sessions: number
  /** The sessions are opened evenly within this time, seconds. */
  readonly ramp: number
  readonly streams: number
  readonly seconds: number
  readonly shardBytes: number
  /** Objects that are in the cache before, asked for by popularity. */
  readonly objects: number
  readonly zipf: number
  /** Share of requests for those; the others are for objects nobody asked for before. */
  readonly hitRatio: number
  readonly mode: 'fetch' | 'playback'
  /** Mean time between two requests of a stream, milliseconds; 0 is a closed loop. */
  readonly think: number
  /** Requests per second of all viewers together, instead of `think`. */
  readonly rate?: number | undefined
  readonly arrivals: ArrivalKind
  /** Playback: bits of video per second. */
  readonly bitrate: number
  /** Playback: seconds of video in store. */
  readonly buffer: number
  readonly seed: number
}

/** Misses evict instead of filling the disk. */
const CACHE_BYTES = 4_000_000_000
/** Bodies compared by each process after the run. */
const SAMPLES = 10

function growth (servers: readonly ProcessUse[]): number {
  return servers.reduce((total, { rssStartBytes, rssEndBytes }) => total + rssEndBytes - rssStartBytes, 0)
}

/** Many viewers with a session each, against processes of its own. @throws Error when a process cannot be started or ends early */
export async function runViewers (cleanup: Cleanup, options: ViewersOptions): Promise<LoadResult> {
  const rig = await startRig(cleanup, { ...options, settings: loadSettings({ cache: { max_bytes: CACHE_BYTES } }, options.settings) })
  return await loadViewers(rig, ViewerFleet.start(cleanup, options.processes), options)
}

/** The same against a relay that runs already, by a fleet without sessions. */
export async function loadViewers ({ relay, profile }: Rig, fleet: ViewerFleet, options: ViewersOptions): Promise<LoadResult> {
  const { sessions, streams, shardBytes, seed } = options
  const mix: Mix = {
    kind: 'zipf',
    requests: syntheticRequests(options.objects, shardBytes, 'viewers'),
    exponent: options.zipf,
    freshShare: 1 - options.hitRatio,
    fresh: { bytes: shardBytes, label: 'viewers-miss' }
  }
  await warm(relay.viewerUrl, mix)
  // The first handshake of each process loads its engine, which is none of the relay's business.
  await fleet.open({ relayUrl: relay.viewerUrl, transport: options.transport, sessions: options.processes, rampMs: 0, streams })
  await fleet.close()

  const processes = await relayProcesses(relay)
  const opening = await ProcessMeter.start(processes)
  const opened = await fleet.open({ relayUrl: relay.viewerUrl, transport: options.transport, sessions, rampMs: options.ramp * 1_000, streams })
  const rssPerSessionBytes = growth(await opening.stop()) / Math.max(1, opened.opened)

  const startedAt = new Date().toISOString()
  const before = await relayCounters(relay.adminUrl)
  const profiler = profile === undefined ? undefined : await Profiler.start(profile, processes)
  const meter = await ProcessMeter.start(processes)
  const gapMs = options.rate === undefined ? options.think : sessions * streams * 1_000 / options.rate
  const playback = { bitsPerSecond: options.bitrate, targetMs: options.buffer * 1_000, spreadMs: options.ramp * 1_000, viewers: sessions }
  const outcome = await fleet.load({
    mix,
    bytes: shardBytes,
    seconds: options.seconds,
    seed: seed + 1,
    streams,
    gapMs,
    arrivals: options.arrivals,
    ...(options.mode === 'playback' ? { playback } : {})
  })
  const servers = await meter.stop()
  const scenario = `viewers-${options.mode}`
  const profiles = await profiler?.stop(`${scenario}-${options.transport}`)
  const after = await relayCounters(relay.adminUrl)
  const verified = await fleet.verify({ mix, seed: seed + 2, samples: SAMPLES })
  await fleet.close()

  const { latency, firstByte, startup, generator, seconds, requests, statuses, unexpected, errors, bytes, lost } = outcome
  return completeResult({
    scenario,
    startedAt,
    settings: {
      transport: options.transport,
      sessions,
      streams,
      seconds: options.seconds,
      ramp: options.ramp,
      shardBytes,
      objects: options.objects,
      zipf: options.zipf,
      hitRatio: options.hitRatio,
      ...(options.mode === 'playback' ? { bitrate: options.bitrate, buffer: options.buffer } : { loop: gapMs > 0 ? 'open' : 'closed', gapMs, arrivals: options.arrivals }),
      processes: options.processes,
      seed,
      superNodes: options.superNodes ?? 1,
      ...flat(options.settings)
    },
    seconds,
    requests,
    statuses,
    unexpected,
    errors,
    errorTexts: [...opened.errorTexts, ...outcome.errorTexts],
    bytes,
    latencyMs: latency.times(),
    firstByteMs: firstByte.times(),
    servers,
    hitRatio: hitRatioBetween(before, after),
    verified,
    ...(profiles === undefined ? {} : { profiles }),
    generator,
    sessions: { opened: opened.opened, failed: opened.failed, lost, handshakeMs: opened.handshake.times(), rssPerSessionBytes },
    ...(options.mode === 'playback'
      ? { playback: { startupMs: startup.times(), stalls: outcome.stalls, stalledMs: outcome.stalledMs, viewersStalled: outcome.viewersStalled, playedSeconds: outcome.playedMs / 1_000 } }
      : {})
  })
}
