/** The ratios that the gate watches. Both sides of each are measured within seconds of each other, and take turns in going first. */
import { request, type Dispatcher } from 'undici'
import { shardPath } from '../../src/protocol/shard-key.ts'
import { median } from '../../tools/harness/median.ts'
import { mergedHistogram } from '../histogram.ts'
import { preciseCpuMs } from '../process-meter.ts'
import { syntheticCid } from '../request-mix.ts'
import { MB } from '../result.ts'
import type { FleetOutcome, ViewerFleet } from '../viewers/fleet.ts'
import { warm } from '../warm.ts'
import { SHARD_BYTES, SMALL_BYTES, type Bench } from './bench.ts'
import type { RatioTrait } from './compare.ts'

/** What one round measured, by name. */
export type Round = Readonly<Record<string, number>>

export interface RatioGroup {
  readonly name: string
  readonly ratios: Readonly<Record<string, RatioTrait & { readonly title: string }>>
  /** Once before the first round. */
  prepare? (bench: Bench): Promise<void>
  /** @param round even and odd rounds begin with the other side @throws Error when an answer was not right: then nothing was measured */
  measure (bench: Bench, round: number): Promise<Round>
}

const HIT_CONNECTIONS = 4
/** 1 MB each: some 300 ms of CPU on either side, against clocks that count in nanoseconds and compilers that are warm. */
const HIT_REQUESTS = 300
const MISSES = 40
const WT_SESSIONS = 4
const WT_REQUESTS = 8
const VIEWERS = 100
const REQUESTS_PER_VIEWER = 3

/** Both sides, the other one first in every second round. */
async function inTurn<T> (round: number, relay: () => Promise<T>, other: () => Promise<T>): Promise<{ relay: T, other: T }> {
  if (round % 2 === 0) {
    const first = await relay()
    return { relay: first, other: await other() }
  }
  const first = await other()
  return { other: first, relay: await relay() }
}

interface Hits { readonly cpuMsPerMb: number, readonly p99: number, readonly mbPerSecond: number }

const hits: RatioGroup = {
  name: 'hit',
  ratios: {
    'hit-cpu': { better: 'lower', kind: 'cpu', title: 'CPU of a 1 MB hit over that of a bare Node server with the same buffer' },
    'hit-p99': { better: 'lower', kind: 'time', title: 'p99 of a 1 MB hit over that of a bare Node server, 4 connections' },
    'hit-rate': { better: 'higher', kind: 'time', title: 'MB/s of 1 MB hits over those of a bare Node server' }
  },
  async prepare (bench) {
    await warm(bench.relay.viewerUrl, bench.mix)
  },
  async measure (bench, round) {
    const bare = await bench.bareHttp()
    const side = async (url: string, cpuMs: () => Promise<number>): Promise<Hits> => {
      const before = await cpuMs()
      const outcome = await bench.http.run({ url, mix: bench.mix, connections: HIT_CONNECTIONS, requests: HIT_REQUESTS, seed: round, expect: { status: 200, bytes: SHARD_BYTES } })
      const spent = await cpuMs() - before
      if (outcome.errors + outcome.unexpected > 0) throw new Error(`hits of ${url}: ${outcome.errors} errors, ${outcome.unexpected} unexpected answers ${outcome.errorTexts.join(', ')}`)
      return { cpuMsPerMb: spent * MB / outcome.bytes, p99: mergedHistogram([outcome.latency]).quantile(0.99), mbPerSecond: outcome.bytes / MB / outcome.seconds }
    }
    const { relay, other } = await inTurn(round,
      async () => await side(bench.relay.viewerUrl, bench.relayCpuMs),
      async () => await side(bare.url, async () => await preciseCpuMs(bare.pid)))
    return { 'hit-cpu': relay.cpuMsPerMb / other.cpuMsPerMb, 'hit-p99': relay.p99 / other.p99, 'hit-rate': relay.mbPerSecond / other.mbPerSecond }
  }
}

async function fetchMs (url: string, dispatcher: Dispatcher): Promise<number> {
  const start = performance.now()
  const response = await request(url, { dispatcher })
  let bytes = 0
  for await (const chunk of response.body as AsyncIterable<Buffer>) bytes += chunk.length
  if (response.statusCode !== 200 || bytes !== SHARD_BYTES) throw new Error(`${url} was answered with ${response.statusCode} and ${bytes} bytes`)
  return performance.now() - start
}

const misses: RatioGroup = {
  name: 'miss',
  ratios: {
    'miss-p50': { better: 'lower', kind: 'time', title: 'p50 of a 1 MB miss over that of the same fetch from the super-node, one after the other' },
    'miss-cpu': { better: 'lower', kind: 'cpu', title: 'CPU of a miss over what the super-node spends on an answer' }
  },
  async measure (bench) {
    const path = (): string => shardPath({ cid: syntheticCid(SHARD_BYTES, `gate-miss-${bench.fresh()}`), part: 0 })
    const [relayBefore, nodeBefore] = [await bench.relayCpuMs(), await preciseCpuMs(bench.node.pid)]
    const times = { relay: [] as number[], node: [] as number[] }
    for (let n = 0; n < MISSES; n++) {
      const { relay, other } = await inTurn(n,
        async () => await fetchMs(bench.relay.viewerUrl + path(), bench.toRelay),
        async () => await fetchMs(bench.node.url + path(), bench.toNode))
      times.relay.push(relay)
      times.node.push(other)
    }
    // The super-node answered both halves.
    const nodeCpu = (await preciseCpuMs(bench.node.pid) - nodeBefore) / (2 * MISSES)
    const relayCpu = (await bench.relayCpuMs() - relayBefore) / MISSES
    return { 'miss-p50': median(times.relay) / median(times.node), 'miss-cpu': relayCpu / nodeCpu }
  }
}

/** Closed loop over every session of a fleet. */
async function loadFleet (fleet: ViewerFleet, bench: Bench, bytes: number, requestsPerStream: number, seed: number): Promise<FleetOutcome> {
  const outcome = await fleet.load({ mix: bytes === SHARD_BYTES ? bench.mix : bench.smallMix, bytes, seconds: 60, seed, streams: 1, gapMs: 0, arrivals: 'even', requestsPerStream })
  if (outcome.errors + outcome.unexpected > 0) throw new Error(`viewers: ${outcome.errors} errors, ${outcome.unexpected} unexpected answers ${outcome.errorTexts.join(', ')}`)
  return outcome
}

async function openFleet (fleet: ViewerFleet, relayUrl: string, transport: 'webtransport' | 'websocket', sessions: number): Promise<void> {
  // Sessions that an earlier measurement left idle may have been closed by their timeouts.
  await fleet.close()
  const { failed, errorTexts } = await fleet.open({ relayUrl, transport, sessions, rampMs: 0, streams: 1 })
  if (failed > 0) throw new Error(`${failed} of ${sessions} sessions failed: ${errorTexts.join(', ')}`)
}

async function cpuPerMb (cpuMs: () => Promise<number>, load: () => Promise<FleetOutcome>): Promise<{ cpuMsPerMb: number, outcome: FleetOutcome }> {
  const before = await cpuMs()
  const outcome = await load()
  return { cpuMsPerMb: (await cpuMs() - before) * MB / outcome.bytes, outcome }
}

const webTransport: RatioGroup = {
  name: 'wt',
  ratios: { 'wt-cpu': { better: 'lower', kind: 'cpu', title: 'CPU of 1 MB over WebTransport (HTTP/3) over that of a bare fails-components server over WebSocket' } },
  async prepare (bench) {
    await warm(bench.relay.viewerUrl, bench.mix)
    await openFleet(bench.fleet('few'), bench.relay.viewerUrl, 'webtransport', WT_SESSIONS)
    await openFleet(bench.fleet('bare'), (await bench.bareWebSocket()).url, 'websocket', WT_SESSIONS)
  },
  async measure (bench, round) {
    const { pid } = await bench.bareWebSocket()
    const { relay, other } = await inTurn(round,
      async () => await cpuPerMb(bench.relayCpuMs, async () => await loadFleet(bench.fleet('few'), bench, SHARD_BYTES, WT_REQUESTS, round)),
      // Four times the requests: WebSocket is so much cheaper.
      async () => await cpuPerMb(async () => await preciseCpuMs(pid), async () => await loadFleet(bench.fleet('bare'), bench, SHARD_BYTES, 4 * WT_REQUESTS, round)))
    return { 'wt-cpu': relay.cpuMsPerMb / other.cpuMsPerMb }
  }
}

const viewers: RatioGroup = {
  name: 'viewers',
  ratios: {
    'viewers-p99': { better: 'lower', kind: 'time', title: `p99 of ${VIEWERS} viewers over that of one, divided by ${VIEWERS}: 1 is a machine shared without loss` },
    'viewers-cpu': { better: 'lower', kind: 'cpu', title: `CPU per MB with ${VIEWERS} viewers over that with one` }
  },
  async prepare (bench) {
    await warm(bench.relay.viewerUrl, bench.smallMix)
    await openFleet(bench.fleet('many'), bench.relay.viewerUrl, 'webtransport', VIEWERS)
    await openFleet(bench.fleet('one'), bench.relay.viewerUrl, 'webtransport', 1)
  },
  async measure (bench, round) {
    const side = async (name: 'many' | 'one', each: number): Promise<{ cpuMsPerMb: number, outcome: FleetOutcome }> =>
      await cpuPerMb(bench.relayCpuMs, async () => await loadFleet(bench.fleet(name), bench, SMALL_BYTES, each, round))
    const { relay: many, other: one } = await inTurn(round, async () => await side('many', REQUESTS_PER_VIEWER), async () => await side('one', VIEWERS * REQUESTS_PER_VIEWER))
    return { 'viewers-p99': many.outcome.latency.quantile(0.99) / VIEWERS / one.outcome.latency.quantile(0.99), 'viewers-cpu': many.cpuMsPerMb / one.cpuMsPerMb }
  }
}

export const GROUPS: readonly RatioGroup[] = [hits, misses, webTransport, viewers]
