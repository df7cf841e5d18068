/**
 * Handshakes a second, MB/s and CPU of gateway and relay per MB (10^6 bytes), over WebTransport and over WebSocket, and over WebTransport
 * through an emulated path. `node --import tsx benchmarks/gateway.ts [--quick] [--runs=5] [--only=loopback|emulated]`; Linux.
 */
import { cpus } from 'node:os'
import { startSuperNode } from '../demo/super-node/server.ts'
import { withCleanup } from '../tools/harness/cleanup.ts'
import { median } from '../tools/harness/median.ts'
import { startChild } from '../tools/harness/child.ts'
import { MB, RelayContender, SIZES, line, type Measured } from './contender.ts'
import type { SessionTransport } from './gateway-client.ts'
import type { PathOrder } from './path-process.ts'

const QUICK = process.argv.includes('--quick')
const RUNS = Number(process.argv.find(argument => argument.startsWith('--runs='))?.slice(7) ?? (QUICK ? 1 : 5))
const ONLY = process.argv.find(argument => argument.startsWith('--only='))?.slice(7)
const SESSIONS = QUICK ? [1, 10] : [1, 10, 50, 100]
/** Bytes of one run at least, so that 10 ms of CPU clock do not matter. */
const VOLUME = (QUICK ? 16 : 64) * MB
const EMULATED = { bitsPerSecond: 100e6, delayMs: 20, loss: 0.01, queueBytes: 500_000 }
const EMULATED_VOLUME = (QUICK ? 8 : 24) * MB

await withCleanup(async cleanup => {
  const origin = await startSuperNode({ port: 0 })
  cleanup.after(async () => { await origin.close() })
  const path = startChild(cleanup, 'benchmarks/path-process.ts')
  process.stdout.write(`${cpus().length} cores (${cpus()[0]?.model ?? '?'}), Node ${process.version}, medians of ${RUNS}\n`)

  const handshakes = async (contender: RelayContender): Promise<void> => {
    process.stdout.write('\n')
    line('handshakes, 10 at a time', 'per second')
    line('---', '---')
    for (const transport of ['webtransport', 'websocket'] as const) {
      const rates: number[] = []
      for (let run = 0; run < RUNS; run++) rates.push((await contender.run(transport, { sessions: QUICK ? 50 : 300, sizeMb: 1, perSession: 0 })).handshakesPerSecond)
      line(transport, median(rates).toFixed(0))
    }
  }

  const table = async (contender: RelayContender, title: string, transports: readonly SessionTransport[], sessions: readonly number[], volume: number, port: (run: number) => Promise<number | undefined>): Promise<void> => {
    process.stdout.write(`\n${title}\n\n`)
    line('transport', 'sessions', 'shard, MB', 'MB/s', 'MB/s, all runs', 'server CPU ms/MB', 'client CPU ms/MB')
    line('---', '---', '---', '---', '---', '---', '---')
    for (const count of sessions) {
      for (const sizeMb of SIZES) {
        const perSession = Math.max(1, Math.round(volume / count / (sizeMb * MB)))
        // The transports take turns, so that what else the machine does meets both.
        const results = new Map<SessionTransport, Measured[]>(transports.map(transport => [transport, []]))
        for (let run = 0; run < RUNS; run++) {
          for (const transport of transports) results.get(transport)?.push(await contender.run(transport, { sessions: count, sizeMb, perSession }, await port(run)))
        }
        for (const [transport, runs] of results) {
          const of = (pick: (measured: Measured) => number): number => median(runs.map(pick))
          line(transport, count, sizeMb, of(({ rate }) => rate).toFixed(1), runs.map(({ rate }) => rate.toFixed(1)).join(' '), of(({ cpuPerMb }) => cpuPerMb).toFixed(1), of(({ clientCpuPerMb }) => clientCpuPerMb).toFixed(1))
        }
      }
    }
  }
  const contender = await RelayContender.of(cleanup, origin)
  if (ONLY !== 'emulated') {
    await handshakes(contender)
    await table(contender, 'Loopback', ['webtransport', 'websocket'], SESSIONS, VOLUME, async () => undefined)
  }
  if (ONLY === 'loopback') return
  await table(contender, 'Through 100 Mbit/s, 40 ms round trip, 1 % loss each way (UDP only)', ['webtransport'], SESSIONS.filter(count => count <= 50), EMULATED_VOLUME,
    async run => await path.ask<number>({ serverPort: contender.port, seed: run + 1, ...EMULATED } satisfies PathOrder))
})
