/** Mixed load for a long time while things break: what must hold is checked, and reported when it does not. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Cleanup } from '../../tools/harness/cleanup.ts'
import { relayCounters, type Counters } from '../relay-counters.ts'
import { startRig } from '../rig.ts'
import { checkBytes, checkCalm, checkStorm, grown, type Grown } from './books.ts'
import { CATALOGUE_BYTES, CIDS, MAX_SHARD_BYTES } from './catalogue.ts'
import { planStorm } from './disturbances.ts'
import { MemoryWatch } from './memory-watch.ts'
import { isLeak, isTelling, type Trend } from './slope.ts'
import { Storm } from './storm.ts'
import { stuck } from './stuck.ts'
import { Traffic, type TrafficOutcome } from './traffic.ts'

export interface SoakOptions {
  readonly seconds: number
  /** Of each transport. */
  readonly viewers: number
  readonly seed: number
  /** A compiled `server.js`; one is built when it is not given. */
  readonly program?: string
}

export interface Phase {
  readonly seconds: number
  readonly transports: Readonly<Record<string, TrafficOutcome>>
  readonly counted: Grown
}

export interface SoakReport {
  readonly version: 1
  readonly startedAt: string
  readonly settings: Omit<SoakOptions, 'program'>
  readonly disturbances: Readonly<Record<string, number>>
  readonly storm: Phase
  readonly calm: Phase
  readonly memory: Readonly<Record<string, Trend & { readonly telling: boolean }>>
  /** What did not hold; empty when everything did. */
  readonly violations: readonly string[]
}

const NODES = 3
/** Storm first, then as much calm as the memory of a gateway that is not killed any more needs to be judged. */
const STORM_SHARE = 0.6
/** Two thirds of what is asked for fit: objects are evicted all the time. */
const CACHE_BYTES = Math.round(CATALOGUE_BYTES * 2 / 3)
/** Longer than any stall, back-off or heartbeat after which something is given back. */
const QUIET_MS = 30_000
/** The gateway reports every 100 ms; what it has counted has come by then. */
const REPORTED_MS = 500

const SETTINGS = {
  cache: { max_bytes: CACHE_BYTES, ram_bytes: 16_000_000 },
  // Faults are meant to be met, not avoided: the pauses after them are short, and waiting for a node that hangs is not endless.
  upstream: { connect_timeout_ms: 1_000, headers_timeout_ms: 1_000, first_byte_timeout_ms: 2_000, backoff_initial_ms: 200, backoff_max_ms: 2_000, health_interval_ms: 1_000, body_timeout_ms: 2_000, ramp_ms: 1_000 },
  transport: { engine: 'quinn', heartbeat_ms: 100, ram_bytes: 16_000_000 }
}

/** @param say called with progress, one line each */
export async function runSoak (cleanup: Cleanup, options: SoakOptions, say: (line: string) => void = () => {}): Promise<SoakReport> {
  const startedAt = new Date().toISOString()
  const { relay, nodes } = await startRig(cleanup, { superNodes: NODES, settings: SETTINGS, ...(options.program === undefined ? {} : { program: options.program }) })
  const violations: string[] = []
  const memory = new MemoryWatch(relay.pid)
  cleanup.after(() => { memory.stop() })
  const traffic = new Traffic(cleanup)
  const storm = new Storm(cleanup, relay, nodes, CACHE_BYTES)

  const quiet = async (when: string): Promise<Counters> => {
    for (const left of await stuck(relay.adminUrl, QUIET_MS)) violations.push(`${when}: still held without traffic: ${left}`)
    await sleep(REPORTED_MS)
    return await relayCounters(relay.adminUrl)
  }
  const phase = async (name: string, seconds: number, seed: number, work: () => Promise<void>, after: () => Promise<void>): Promise<Phase> => {
    const before = await quiet(`before the ${name}`)
    await traffic.start(relay.viewerUrl, options.viewers, seed)
    await work()
    const transports = await traffic.stop()
    await after()
    const counted = grown(before, await quiet(`after the ${name}`))
    for (const [transport, { ok, refused, broken, wrong }] of Object.entries(transports)) say(`${name}: ${transport}: ${ok} right, ${refused} refused, ${broken} broken, ${wrong} wrong`)
    violations.push(...checkBytes(transports))
    return { seconds, transports, counted }
  }

  const stormSeconds = options.seconds * STORM_SHARE
  const plan = planStorm({ seconds: stormSeconds, nodes: NODES, videos: CIDS.length, seed: options.seed })
  say(`storm: ${stormSeconds.toFixed(0)} s, ${plan.length} disturbances`)
  const stormy = await phase('storm', stormSeconds, options.seed, async () => { await storm.rage(plan, stormSeconds) }, async () => { await storm.settle() })
  violations.push(...storm.violations, ...checkStorm(stormy.transports, stormy.counted, MAX_SHARD_BYTES))

  const calmSeconds = options.seconds - stormSeconds
  say(`calm: ${calmSeconds.toFixed(0)} s`)
  const calm = await phase('calm', calmSeconds, options.seed + 1, async () => { await sleep(calmSeconds * 1_000) }, async () => {})
  violations.push(...checkCalm(calm.transports, calm.counted))

  memory.stop()
  const trends = memory.trends()
  for (const [name, trend] of Object.entries(trends)) {
    if (isLeak(trend)) violations.push(`memory of the ${name} grows by ${(trend.bytesPerSecond * 3_600 / 1e6).toFixed(0)} MB an hour (${(trend.growthBytes / 1e6).toFixed(0)} MB in ${trend.seconds.toFixed(0)} s)`)
  }
  if (relay.child.exitCode !== null || relay.child.signalCode !== null) violations.push(`the relay ended during the soak: ${relay.stderr()}`)
  relay.child.kill('SIGTERM')
  const exit = await relay.exit
  if (exit.code !== 0) violations.push(`the relay stopped with ${exit.code ?? exit.signal ?? ''}: ${relay.stderr()}`)
  return {
    version: 1,
    startedAt,
    settings: { seconds: options.seconds, viewers: options.viewers, seed: options.seed },
    disturbances: storm.counts,
    storm: stormy,
    calm,
    memory: { relay: { ...trends.relay, telling: isTelling(trends.relay) }, gateway: { ...trends.gateway, telling: isTelling(trends.gateway) } },
    violations
  }
}
