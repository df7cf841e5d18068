/**
 * What slow viewers cost honest ones: p50 and p99 of hits, with and without 500 readers of a byte a second, 100 closed windows, 100 half-sent
 * requests, and over WebTransport 10 sessions with 20 unread answers each. Runs alternate; medians of `--runs` (5).
 *   node --import tsx benchmarks/slow-viewers.ts [--runs=5] [--requests=2000] [--disk] [--arriving]
 * `--disk` switches the memory tier off, so that every reader has a file open. `--arriving` does not wait until the answers of the slow stand still in
 * the windows of their connections, so that what filling these costs is measured as well. Linux.
 */
import { cpus } from 'node:os'
import { setTimeout } from 'node:timers/promises'
import { Agent } from 'undici'
import { startSuperNode } from '../demo/super-node/server.ts'
import type { TransportSession } from '../src/protocol/transport-session.ts'
import { gatewayPid } from '../tools/harness/gateway-process.ts'
import { fetchHashed, inParallel } from '../tools/harness/http.ts'
import { openSession, readAll } from '../tools/harness/quinn-rig.ts'
import { quantile } from '../tools/harness/origins.ts'
import { spawnRelay } from '../tools/harness/processes.ts'
import type { SlowCounts } from '../tools/harness/slow-viewers.ts'
import { startChild } from '../tools/harness/child.ts'
import type { ManagedProcess } from '../tools/harness/managed-process.ts'
import { cpuMs, residentBytes } from '../tools/harness/proc.ts'
import { withCleanup } from '../tools/harness/cleanup.ts'
import { median } from '../tools/harness/median.ts'
import type { CrowdOrder } from './slow-crowd.ts'

const MB = 1024 * 1024
const option = (name: string, value: number): number => Number(process.argv.find(argument => argument.startsWith(`--${name}=`))?.split('=')[1] ?? value)
const RUNS = option('runs', 5)
const REQUESTS = option('requests', 2_000)
const DISK = process.argv.includes('--disk')
const ARRIVING = process.argv.includes('--arriving')
const LARGE = `/shards/syn-${8 * MB}-slow/shard_0.bin`
const CID = 'syn-100000-honest'
/** Honest requests at the same time: enough to keep the relay busy, too few to measure their own queue. */
const WIDTH = 4
const CROWD: SlowCounts = { readers: 500, zeroWindow: 100, halfSent: 100, sessions: 10, streams: 20, halfStreams: 20 }

type ViewerTransport = 'http' | 'webtransport'

/** Latencies of one run, ms, and the CPU ms of each process by the number of hits. */
interface Run { readonly p50: number, readonly p99: number, readonly relayMs: number, readonly gatewayMs: number, readonly crowdMs: number }

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)

async function tell (crowd: ManagedProcess, order: CrowdOrder): Promise<void> {
  const answer = await crowd.ask<string>(order)
  if (answer !== 'ok') throw new Error(answer)
}

async function timed (work: () => Promise<number>): Promise<number> {
  const start = performance.now()
  const bytes = await work()
  if (bytes < 100_000) throw new Error(`an answer of ${bytes} bytes`)
  return performance.now() - start
}

async function askSession (session: TransportSession, path: string): Promise<number> {
  const stream = await session.openBidi()
  await stream.write(Buffer.from(`GET ${path} HTTP/1.1\r\n\r\n`))
  await stream.end()
  return (await readAll(stream)).length
}

await withCleanup(async cleanup => {
  const origin = await startSuperNode({ port: 0 })
  cleanup.after(async () => { await origin.close() })
  const relay = await spawnRelay(cleanup, [origin], { transport: { engine: 'quinn' }, ...DISK ? { cache: { ram_bytes: 0 } } : {} })
  const gateway = await gatewayPid(relay.pid)
  if (gateway === undefined) throw new Error('no gateway')
  const crowd = startChild(cleanup, 'benchmarks/slow-crowd.ts')
  const target = { viewerUrl: relay.viewerUrl, path: LARGE }
  const agent = new Agent({ connections: WIDTH })
  cleanup.after(async () => { await agent.destroy() })
  const spent = async (): Promise<number[]> => await Promise.all([relay.pid, gateway, crowd.pid].map(cpuMs))
  /** Until what the slow have asked for stands still in buffers and windows: their coming is a load of its own, their staying is what is measured. */
  const rest = async (): Promise<void> => {
    for (let calm = 0, [before, looks] = [await spent(), 0]; calm < 3; looks++) {
      if (looks > 300) throw new Error('the slow viewers do not come to rest')
      await setTimeout(200)
      const after = await spent()
      calm = sum(after) - sum(before) <= 40 ? calm + 1 : 0
      before = after
    }
  }
  const path = (n: number): string => `/shards/${CID}/shard_${n % 14}.bin`
  const run = async (transport: ViewerTransport): Promise<number[]> => {
    const session = transport === 'http' ? undefined : await openSession(relay.viewerUrl)
    const fetchOne = async (n: number): Promise<number> => session === undefined ? (await fetchHashed(relay.viewerUrl + path(n), {}, agent)).bytes : await askSession(session, path(n))
    const times = await inParallel(Array.from({ length: REQUESTS }, (_, n) => n), WIDTH, async n => await timed(async () => await fetchOne(n)))
    session?.close()
    return times
  }

  for (let time = 0; time < 3; time++) await fetchHashed(relay.viewerUrl + LARGE)
  for (const transport of ['http', 'webtransport'] as const) await run(transport)
  const before = { relay: await residentBytes(relay.pid), gateway: await residentBytes(gateway) }
  const largest = { ...before }
  const results = new Map<string, Run[]>()
  for (let turn = 0; turn < RUNS; turn++) {
    for (const counts of [undefined, CROWD]) {
      for (const transport of ['http', 'webtransport'] as const) {
        await tell(crowd, { counts, target })
        if (!ARRIVING) await rest()
        // What the change of crowds leaves to collect is collected before it counts.
        await run(transport)
        const spentBefore = await spent()
        const times = await run(transport)
        const spentAfter = await spent()
        const [relayMs = 0, gatewayMs = 0, crowdMs = 0] = spentAfter.map((ms, of) => (ms - (spentBefore[of] ?? 0)) / REQUESTS)
        const name = `${transport}, ${counts === undefined ? 'alone' : 'beside the slow'}`
        results.set(name, [...results.get(name) ?? [], { p50: quantile(times, 0.5), p99: quantile(times, 0.99), relayMs, gatewayMs, crowdMs }])
        largest.relay = Math.max(largest.relay, await residentBytes(relay.pid))
        largest.gateway = Math.max(largest.gateway, await residentBytes(gateway))
      }
    }
  }
  await tell(crowd, { counts: undefined, target })

  process.stdout.write(`${cpus().length} cores (${cpus()[0]?.model ?? '?'}), Node ${process.version}, ${RUNS} runs of ${REQUESTS} hits of 100 kB, ${WIDTH} at the same time${DISK ? ', no memory tier' : ''}${ARRIVING ? ', while the slow arrive' : ''}\n\n`)
  process.stdout.write('| | p50, ms | p99, ms | CPU ms per hit: relay | gateway | slow | p99 of all runs |\n|---|---|---|---|---|---|---|\n')
  for (const [name, runs] of results) {
    const column = (key: keyof Run): string => median(runs.map(({ [key]: value }) => value)).toFixed(2)
    process.stdout.write(`| ${name} | ${column('p50')} | ${column('p99')} | ${column('relayMs')} | ${column('gatewayMs')} | ${column('crowdMs')} | ${runs.map(({ p99 }) => p99.toFixed(1)).join(' ')} |\n`)
  }
  for (const transport of ['http', 'webtransport']) {
    const p99 = (state: string): number => median((results.get(`${transport}, ${state}`) ?? []).map(run => run.p99))
    process.stdout.write(`\n${transport}: p99 beside the slow / alone: ${(p99('beside the slow') / p99('alone')).toFixed(2)}`)
  }
  process.stdout.write(`\nRSS before, at most: relay ${Math.round(before.relay / MB)}, ${Math.round(largest.relay / MB)} MB; gateway ${Math.round(before.gateway / MB)}, ${Math.round(largest.gateway / MB)} MB\n`)
})
