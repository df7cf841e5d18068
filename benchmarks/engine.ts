/**
 * What the engine costs by itself, beside relay and gateway as a whole: CPU ms per MB (10^6 bytes), handshakes a second.
 *   node --import tsx benchmarks/engine.ts [--quick] [--runs=5] [--old <directory>]
 * `--old` names a built checkout of a version before the engine; its relay and its own client are measured in turns with the others. Linux.
 */
import { cpus } from 'node:os'
import { resolve } from 'node:path'
import { startSuperNode } from '../demo/super-node/server.ts'
import { withCleanup, type Cleanup } from '../tools/harness/cleanup.ts'
import { median } from '../tools/harness/median.ts'
import { startChild } from '../tools/harness/child.ts'
import { MB, RelayContender, SIZES, line, measure, type Load, type Measured } from './contender.ts'
import type { EngineReady } from './engine-server.ts'

const QUICK = process.argv.includes('--quick')
const RUNS = Number(process.argv.find(argument => argument.startsWith('--runs='))?.slice(7) ?? (QUICK ? 1 : 5))
const OLD = process.argv.includes('--old') ? process.argv[process.argv.indexOf('--old') + 1] : undefined
const SESSIONS = 10
const HANDSHAKES = QUICK ? 50 : 300
/** Bytes of one run, so that 10 ms of CPU clock do not matter. */
const VOLUME = (QUICK ? 80 : 400) * MB
/** Bytes of a write of the bare engine. */
const WRITES = [65_536, 262_144]

type Run = (load: Load) => Promise<Measured>

/** The engine alone, by the size of its writes. */
async function bareEngine (cleanup: Cleanup): Promise<Map<string, Run>> {
  const server = startChild(cleanup, 'benchmarks/engine-server.ts')
  const { url, certificateHash } = await server.answer<EngineReady>()
  const client = startChild(cleanup, 'benchmarks/gateway-client.ts')
  const run = (write: number): Run => async load => await measure(client, { transport: 'webtransport', url, certificateHashes: [certificateHash], queries: [] },
    [server.pid], { paths: Array.from({ length: load.perSession }, () => `/${load.sizeMb * MB}/${write}`), digests: [] }, load)
  return new Map(WRITES.map(write => [`engine alone, writes of ${write / 1_024} KiB`, run(write)]))
}

await withCleanup(async cleanup => {
  const origin = await startSuperNode({ port: 0 })
  cleanup.after(async () => { await origin.close() })
  const contenders = await bareEngine(cleanup)
  const relay = await RelayContender.of(cleanup, origin)
  contenders.set('relay and gateway', async load => await relay.run('webtransport', load))
  if (OLD !== undefined) {
    const old = await RelayContender.of(cleanup, origin, { root: resolve(OLD) })
    contenders.set('relay and gateway before', async load => await old.run('webtransport', load))
  }
  process.stdout.write(`${cpus().length} cores (${cpus()[0]?.model ?? '?'}), Node ${process.version}, ${SESSIONS} sessions, medians of ${RUNS}\n\n`)

  /** Contenders take turns, so that what else the machine does meets all of them. */
  const inTurns = async (load: Load): Promise<Map<string, Measured[]>> => {
    const results = new Map<string, Measured[]>()
    for (let run = 0; run < RUNS; run++) for (const [name, once] of contenders) results.set(name, [...results.get(name) ?? [], await once(load)])
    return results
  }
  const of = (runs: readonly Measured[], pick: (measured: Measured) => number): number => median(runs.map(pick))

  line('server', 'object, MB', 'CPU ms/MB', 'all runs', 'over the engine alone', 'MB/s', 'client CPU ms/MB')
  line('---', '---', '---', '---', '---', '---', '---')
  for (const sizeMb of SIZES) {
    const results = await inTurns({ sessions: SESSIONS, sizeMb, perSession: Math.max(1, Math.round(VOLUME / SESSIONS / (sizeMb * MB))) })
    // The better of the two: how it is used is up to the gateway.
    const alone = Math.min(...Array.from(results).filter(([name]) => name.startsWith('engine')).map(([, runs]) => of(runs, ({ cpuPerMb }) => cpuPerMb)))
    for (const [name, runs] of results) {
      const cpu = of(runs, ({ cpuPerMb }) => cpuPerMb)
      line(name, sizeMb, cpu.toFixed(2), runs.map(({ cpuPerMb }) => cpuPerMb.toFixed(2)).join(' '), `${(cpu / alone).toFixed(2)}×`, of(runs, ({ rate }) => rate).toFixed(0), of(runs, ({ clientCpuPerMb }) => clientCpuPerMb).toFixed(2))
    }
  }
  process.stdout.write('\n')
  line('server', 'handshakes a second', 'all runs', 'CPU ms each')
  line('---', '---', '---', '---')
  for (const [name, runs] of await inTurns({ sessions: HANDSHAKES, sizeMb: 1, perSession: 0 })) {
    line(name, of(runs, ({ handshakesPerSecond }) => handshakesPerSecond).toFixed(0), runs.map(({ handshakesPerSecond }) => handshakesPerSecond.toFixed(0)).join(' '), of(runs, ({ cpuPerSession }) => cpuPerSession).toFixed(2))
  }
})
