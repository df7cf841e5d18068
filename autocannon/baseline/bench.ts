/** Everything a round of ratios needs, running: a relay, a super-node, the bare servers to compare with, and the generators. */
import { Agent } from 'undici'
import type { Cleanup } from '../../tools/harness/cleanup.ts'
import { spawnProgram, type SpawnedNode, type SpawnedRelay } from '../../tools/harness/processes.ts'
import { preciseCpuMs, relayProcesses } from '../process-meter.ts'
import { syntheticRequests, type Mix } from '../request-mix.ts'
import { MB } from '../result.ts'
import { loadSettings, startRig, type RigOptions } from '../rig.ts'
import { httpWorker, type HttpWorker } from '../run-scenario.ts'
import { ViewerFleet } from '../viewers/fleet.ts'

export interface BareServer {
  readonly url: string
  readonly pid: number
}

export interface Bench {
  readonly relay: SpawnedRelay
  readonly node: SpawnedNode
  /** Servers to compare with, started when they are first asked for. */
  readonly bareHttp: () => Promise<BareServer>
  readonly bareWebSocket: () => Promise<BareServer>
  readonly http: HttpWorker
  /** One fleet for each kind of viewer that is measured, since a fleet loads all its sessions alike. */
  readonly fleet: (name: 'many' | 'one' | 'few' | 'bare') => ViewerFleet
  readonly mix: Mix
  readonly smallMix: Mix
  /** CPU time of relay and gateway so far, ms. */
  readonly relayCpuMs: () => Promise<number>
  /** A connection that stays open for requests one after the other. */
  readonly toRelay: Agent
  readonly toNode: Agent
  /** Another number at every call, for objects nobody has asked for. */
  readonly fresh: () => number
}

/** Large enough that bytes, and small enough that requests cost something: the smallest shard of the network. */
export const SHARD_BYTES = MB
/** A hundred viewers fetch several of these within a second. */
export const SMALL_BYTES = 100_000

function once<T> (start: () => Promise<T>): () => Promise<T> {
  let started: Promise<T> | undefined
  return async () => await (started ??= start())
}

async function bare (cleanup: Cleanup, file: string, bytes: number): Promise<BareServer> {
  const server = spawnProgram(cleanup, `autocannon/baseline/${file}`, [String(bytes)])
  const { url } = await server.waitFor(event => typeof event['url'] === 'string')
  return { url: String(url), pid: server.pid }
}

/** Starts it; everything ends with the cleanup. */
export async function startBench (cleanup: Cleanup, options: Pick<RigOptions, 'program' | 'env'>): Promise<Bench> {
  const settings = loadSettings({ cache: { max_bytes: 2_000_000_000 }, transport: { engine: 'quinn', idle_timeout_ms: 600_000 } })
  const rig = await startRig(cleanup, { ...options, settings })
  const [node] = rig.nodes
  if (node === undefined) throw new Error('no super-node')
  const mix: Mix = { kind: 'rotate', requests: syntheticRequests(10, SHARD_BYTES, 'gate') }
  const smallMix: Mix = { kind: 'rotate', requests: syntheticRequests(10, SMALL_BYTES, 'gate') }
  const agents = [new Agent({ connections: 1 }), new Agent({ connections: 1 })] as const
  cleanup.after(async () => { await Promise.all(agents.map(async agent => { await agent.destroy() })) })
  const fleets = new Map<string, ViewerFleet>()
  let drawn = Date.now()
  return {
    relay: rig.relay,
    node,
    bareHttp: once(async () => await bare(cleanup, 'bare-http.ts', SHARD_BYTES)),
    bareWebSocket: once(async () => await bare(cleanup, 'bare-websocket.ts', SHARD_BYTES)),
    http: httpWorker(cleanup),
    fleet: name => {
      const fleet = fleets.get(name) ?? ViewerFleet.start(cleanup, 1)
      fleets.set(name, fleet)
      return fleet
    },
    mix,
    smallMix,
    relayCpuMs: async () => {
      const spent = await Promise.all((await relayProcesses(rig.relay)).map(async ({ pid }) => await preciseCpuMs(pid)))
      return spent.reduce((sum, ms) => sum + ms, 0)
    },
    toRelay: agents[0],
    toNode: agents[1],
    fresh: () => drawn++
  }
}
