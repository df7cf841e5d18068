/**
 * Handshakes a second, MB/s and CPU of gateway and relay per MB (10^6 bytes), over the bundled HTTP/3 engine and over WebSocket, and
 * over HTTP/3 through an emulated path. `node --import tsx benchmarks/gateway.ts [--quick] [--runs=5] [--only=loopback|emulated]`; Linux.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { startSuperNode, syntheticShard } from '../demo/super-node/server.ts'
import { cpuMs, gatewayPid } from '../test/support/gateway-process.ts'
import { sha256 } from '../test/support/http.ts'
import { spawnRelay, type SpawnedRelay } from '../test/support/processes.ts'
import { transportOffer, type TransportOffer } from '../test/support/transport-offer.ts'
import { withCleanup, type Cleanup } from './cleanup.ts'
import type { Order, Outcome, RoadName } from './gateway-client.ts'
import { median } from './median.ts'
import type { PathOrder } from './path-process.ts'

const MB = 1_000_000
const QUICK = process.argv.includes('--quick')
const RUNS = Number(process.argv.find(argument => argument.startsWith('--runs='))?.slice(7) ?? (QUICK ? 1 : 5))
const ONLY = process.argv.find(argument => argument.startsWith('--only='))?.slice(7)
const SESSIONS = QUICK ? [1, 10] : [1, 10, 50, 100]
const SIZES = [1, 8]
/** Bytes of one run at least, so that 10 ms of CPU clock do not matter. */
const VOLUME = (QUICK ? 16 : 64) * MB
const EMULATED = { bitsPerSecond: 100e6, delayMs: 20, loss: 0.01, queueBytes: 500_000 }
const EMULATED_VOLUME = (QUICK ? 8 : 24) * MB

interface Measured { readonly handshakesPerSecond: number, readonly rate: number, readonly cpuPerMb: number, readonly clientCpuPerMb: number }

function child (cleanup: Cleanup, file: string): ChildProcess {
  const started = fork(fileURLToPath(new URL(file, import.meta.url)), [], { execArgv: ['--import', 'tsx'], stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
  cleanup.after(() => { started.disconnect() })
  return started
}

async function ask<T> (to: ChildProcess, message: Order | PathOrder): Promise<T> {
  to.send(message)
  const [answer] = await once(to, 'message') as [T]
  return answer
}

class Bench {
  readonly #relay: SpawnedRelay
  readonly #gateway: number
  readonly #client: ChildProcess
  readonly #offer: TransportOffer

  static async of (cleanup: Cleanup, origin: { url: string, region: string }): Promise<Bench> {
    const relay = await spawnRelay(cleanup, [origin], { transport: { engine: 'bundled', max_sessions_per_ip: 10_000 } })
    const gateway = await gatewayPid(relay.pid)
    if (gateway === undefined) throw new Error('no gateway')
    const bench = new Bench(relay, gateway, child(cleanup, './gateway-client.ts'), await transportOffer(relay.viewerUrl))
    // What is measured are hits: every object is fetched once before.
    for (const sizeMb of SIZES) for (const road of ['websocket', 'bundled'] as const) await bench.run(road, 1, sizeMb, 14)
    return bench
  }

  private constructor (relay: SpawnedRelay, gateway: number, client: ChildProcess, offer: TransportOffer) {
    this.#relay = relay
    this.#gateway = gateway
    this.#client = client
    this.#offer = offer
  }

  get port (): number { return Number(new URL(this.#offer.webtransport.url).port) }

  async run (road: RoadName, sessions: number, sizeMb: number, perSession: number, port?: number): Promise<Measured> {
    const url = new URL(road === 'bundled' ? this.#offer.webtransport.url : this.#offer.websocket.url.replace('wss:', 'https:'))
    if (port !== undefined) url.port = String(port)
    const cid = `syn-${sizeMb * MB}-bench`
    const parts = Array.from({ length: perSession }, (_, part) => part % 14)
    const before = await this.#cpu()
    const outcome = await ask<Outcome>(this.#client, {
      road,
      url: url.href,
      certificateHashes: this.#offer.webtransport.certificateHashes.map(({ value }) => value),
      sessions,
      paths: parts.map(part => `/shards/${cid}/shard_${part}.bin`),
      bytes: sizeMb * MB,
      digests: perSession === 0 ? [] : parts.map(part => digestOf(cid, part)),
      width: 10
    })
    const spent = await this.#cpu() - before
    if (outcome.failures.length > 0) process.stderr.write(`${road} ${sessions} x ${sizeMb} MB: ${outcome.failures.length} failures, first ${outcome.failures[0] ?? ''}\n`)
    const moved = outcome.bytes / MB
    return { handshakesPerSecond: sessions / outcome.handshakeSeconds, rate: moved / outcome.seconds, cpuPerMb: spent / moved, clientCpuPerMb: outcome.cpuMs / moved }
  }

  async #cpu (): Promise<number> {
    return await cpuMs(this.#relay.pid) + await cpuMs(this.#gateway)
  }
}

const digests = new Map<string, string>()

function digestOf (cid: string, part: number): string {
  const known = digests.get(`${cid}/${part}`) ?? sha256(syntheticShard(cid, part))
  digests.set(`${cid}/${part}`, known)
  return known
}

const line = (...cells: (string | number)[]): void => { process.stdout.write(`| ${cells.join(' | ')} |\n`) }

await withCleanup(async cleanup => {
  const origin = await startSuperNode({ port: 0 })
  cleanup.after(async () => { await origin.close() })
  const path = child(cleanup, './path-process.ts')
  process.stdout.write(`${cpus().length} cores (${cpus()[0]?.model ?? '?'}), Node ${process.version}, medians of ${RUNS}\n`)

  const handshakes = async (bench: Bench): Promise<void> => {
    process.stdout.write('\n')
    line('handshakes, 10 at once', 'per second')
    line('---', '---')
    for (const road of ['bundled', 'websocket'] as const) {
      const rates: number[] = []
      for (let run = 0; run < RUNS; run++) rates.push((await bench.run(road, QUICK ? 50 : 300, 1, 0)).handshakesPerSecond)
      line(road, median(rates).toFixed(0))
    }
  }

  const table = async (bench: Bench, title: string, roads: readonly RoadName[], sessions: readonly number[], volume: number, port: (run: number) => Promise<number | undefined>): Promise<void> => {
    process.stdout.write(`\n${title}\n\n`)
    line('road', 'sessions', 'shard, MB', 'MB/s', 'MB/s, all runs', 'server CPU ms/MB', 'client CPU ms/MB')
    line('---', '---', '---', '---', '---', '---', '---')
    for (const count of sessions) {
      for (const sizeMb of SIZES) {
        const perSession = Math.max(1, Math.round(volume / count / (sizeMb * MB)))
        // The roads take turns, so that what else the machine does meets both.
        const results = new Map<RoadName, Measured[]>(roads.map(road => [road, []]))
        for (let run = 0; run < RUNS; run++) {
          for (const road of roads) results.get(road)?.push(await bench.run(road, count, sizeMb, perSession, await port(run)))
        }
        for (const [road, runs] of results) {
          const of = (pick: (measured: Measured) => number): number => median(runs.map(pick))
          line(road, count, sizeMb, of(({ rate }) => rate).toFixed(1), runs.map(({ rate }) => rate.toFixed(1)).join(' '), of(({ cpuPerMb }) => cpuPerMb).toFixed(1), of(({ clientCpuPerMb }) => clientCpuPerMb).toFixed(1))
        }
      }
    }
  }
  const bench = await Bench.of(cleanup, origin)
  if (ONLY !== 'emulated') {
    await handshakes(bench)
    await table(bench, 'Loopback', ['bundled', 'websocket'], SESSIONS, VOLUME, async () => undefined)
  }
  if (ONLY === 'loopback') return
  await table(bench, 'Through 100 Mbit/s, 40 ms round trip, 1 % loss each way (UDP only)', ['bundled'], SESSIONS.filter(count => count <= 50), EMULATED_VOLUME,
    async run => await ask<number>(path, { serverPort: bench.port, seed: run + 1, ...EMULATED }))
})
