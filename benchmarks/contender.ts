/** What viewers are sent to in `gateway.ts` and `engine.ts`, with a client in a process of its own. */
import { syntheticShard } from '../demo/super-node/server.ts'
import type { Cleanup } from '../tools/harness/cleanup.ts'
import { gatewayPid } from '../tools/harness/gateway-process.ts'
import { sha256 } from '../tools/harness/http.ts'
import { NEVER_OVERLOADED, PATIENT_UPSTREAM } from '../tools/harness/limits.ts'
import { cpuMs } from '../tools/harness/proc.ts'
import { spawnRelay, type SpawnedRelay } from '../tools/harness/processes.ts'
import { transportOffer, type TransportOffer } from '../tools/harness/transport-offer.ts'
import { startChild } from '../tools/harness/child.ts'
import type { ManagedProcess } from '../tools/harness/managed-process.ts'
import type { Order, Outcome, SessionTransport } from './gateway-client.ts'

export const MB = 1_000_000
/** Handshakes at the same time. */
const WIDTH = 10
/** Parts of a synthetic object. */
const PARTS = 14
/** Sizes of objects, MB. */
export const SIZES = [1, 8]

export interface Measured { readonly handshakesPerSecond: number, readonly rate: number, readonly cpuPerMb: number, readonly clientCpuPerMb: number, readonly cpuPerSession: number }

export interface Load {
  readonly sessions: number
  readonly sizeMb: number
  /** Requests of each session, one after the other; 0 only opens and closes them. */
  readonly perSession: number
}

/** What a client is told of the server, beside the load. */
export type Target = Pick<Order, 'transport' | 'url' | 'certificateHashes' | 'queries'>

/** Has the client do it and meters the server. @param pids processes of the server */
export async function measure (client: ManagedProcess, target: Target, pids: readonly number[], objects: Pick<Order, 'paths' | 'digests'>, { sessions, sizeMb }: Load): Promise<Measured> {
  const cpu = async (): Promise<number> => (await Promise.all(pids.map(cpuMs))).reduce((sum, ms) => sum + ms, 0)
  const before = await cpu()
  const outcome = await client.ask<Outcome>({ ...target, ...objects, sessions, bytes: sizeMb * MB, width: WIDTH } satisfies Order)
  const spent = await cpu() - before
  if (outcome.failures.length > 0) process.stderr.write(`${target.transport} ${sessions} x ${sizeMb} MB: ${outcome.failures.length} failures, first ${outcome.failures[0] ?? ''}\n`)
  const moved = outcome.bytes / MB
  return { handshakesPerSecond: sessions / outcome.handshakeSeconds, rate: moved / outcome.seconds, cpuPerMb: spent / moved, clientCpuPerMb: outcome.cpuMs / moved, cpuPerSession: spent / sessions }
}

export interface RelayOrigin {
  /** Of another checkout, whose relay and client are meant; this one otherwise. */
  readonly root?: string | undefined
}

/** A relay with its gateway, whose cache has every object that is asked for. */
export class RelayContender {
  readonly #relay: SpawnedRelay
  readonly #pids: readonly number[]
  readonly #client: ManagedProcess
  readonly #offer: TransportOffer
  readonly #old: boolean

  static async of (cleanup: Cleanup, origin: { url: string, region: string }, { root }: RelayOrigin = {}): Promise<RelayContender> {
    // Names of engine and transport before there was another engine.
    const transport = { engine: root === undefined ? 'quinn' : 'bundled', max_sessions_per_ip: 10_000 }
    const limits = root === undefined ? {} : { responses_per_ip: undefined }
    const admin = root === undefined ? {} : { loopback_without_token: undefined }
    const relay = await spawnRelay(cleanup, [origin], { transport, limits, admin, overload: NEVER_OVERLOADED, upstream: PATIENT_UPSTREAM }, undefined, root === undefined ? {} : { program: `${root}/dist/server.js` })
    const gateway = await gatewayPid(relay.pid)
    if (gateway === undefined) throw new Error('no gateway')
    const client = startChild(cleanup, 'benchmarks/gateway-client.ts', root === undefined ? {} : { root })
    const contender = new RelayContender(relay, [relay.pid, gateway], client, await transportOffer(relay.viewerUrl), root !== undefined)
    // What is measured are hits: every object is fetched once before.
    for (const sizeMb of SIZES) for (const transport of ['websocket', 'webtransport'] as const) await contender.run(transport, { sessions: 1, sizeMb, perSession: PARTS })
    return contender
  }

  private constructor (relay: SpawnedRelay, pids: readonly number[], client: ManagedProcess, offer: TransportOffer, old: boolean) {
    this.#relay = relay
    this.#pids = pids
    this.#client = client
    this.#offer = offer
    this.#old = old
  }

  /** UDP port. */
  get port (): number { return Number(new URL(this.#offer.webtransport.url).port) }

  /** @param port of a path before the relay's, instead of its own */
  async run (transport: SessionTransport, load: Load, port?: number): Promise<Measured> {
    const url = new URL(this.#offer[transport].url.replace('wss:', 'https:'))
    if (port !== undefined) url.port = String(port)
    const cid = `syn-${load.sizeMb * MB}-bench`
    const parts = Array.from({ length: load.perSession }, (_, part) => part % PARTS)
    return await measure(this.#client, {
      transport: this.#old && transport === 'webtransport' ? 'bundled' as SessionTransport : transport,
      url: url.href,
      certificateHashes: this.#offer.webtransport.certificateHashes.map(({ value }) => value),
      queries: transport === 'webtransport' && !this.#old ? await this.#tickets(load.sessions) : []
    }, this.#pids, { paths: parts.map(part => `/shards/${cid}/shard_${part}.bin`), digests: parts.map(part => digestOf(cid, part)) }, load)
  }

  /** What discovery costs is not part of a handshake, and was asked for with the engine before too. */
  async #tickets (count: number): Promise<string[]> {
    const queries: string[] = []
    while (queries.length < count) queries.push(new URL((await transportOffer(this.#relay.viewerUrl)).webtransport.url).search)
    return queries
  }
}

const digests = new Map<string, string>()

function digestOf (cid: string, part: number): string {
  const known = digests.get(`${cid}/${part}`) ?? sha256(syntheticShard(cid, part))
  digests.set(`${cid}/${part}`, known)
  return known
}

/** A line of a Markdown table, on standard output. */
export function line (...cells: (string | number)[]): void {
  process.stdout.write(`| ${cells.join(' | ')} |\n`)
}
