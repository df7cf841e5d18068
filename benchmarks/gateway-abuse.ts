/**
 * What strangers can do to the gateway, and what is left of it: `node --import tsx benchmarks/gateway-abuse.ts [--quick] [--only=sessions,streams]`.
 * Every phase runs twice; the first time brings memory to its plateau, the second is the one that counts.
 */
import { startSuperNode } from '../demo/super-node/server.ts'
import { withCleanup } from '../tools/harness/cleanup.ts'
import { GatewayAbuse, type AbuseCounts, type AbuseRow } from '../tools/harness/gateway-abuse.ts'
import { NEVER_OVERLOADED } from '../tools/harness/limits.ts'
import { spawnRelay } from '../tools/harness/processes.ts'

const FULL = { sessions: 10_000, streams: 100_000, uninvited: 3_000, unended: 10_000, unwanted: 100, halfOpen: 20_000, cryptoGaps: 200, datagrams: 10_000, mutated: 10_000, truncationStep: 1 }
const QUICK = { sessions: 300, streams: 3_000, uninvited: 90, unended: 990, unwanted: 4, halfOpen: 1_000, cryptoGaps: 20, datagrams: 1_000, mutated: 1_000, truncationStep: 8 }

const mb = (bytes: number): string => (bytes / 1_048_576).toFixed(0)

function print (round: string, { phase, count, seconds, before, peak, after, witnessMs, largest }: AbuseRow): void {
  const sizes = Object.entries(largest).map(([name, size]) => `${name} ${size}`).join(', ')
  process.stdout.write(`| ${round} | ${phase} | ${count} | ${seconds.toFixed(1)} | ${mb(before)} | ${mb(peak)} | ${mb(after)} | ${witnessMs.toFixed(0)} | ${sizes} |\n`)
}

await withCleanup(async cleanup => {
  const all = process.argv.includes('--quick') ? QUICK : FULL
  const only = process.argv.find(argument => argument.startsWith('--only='))?.slice(7).split(',')
  const counts = Object.fromEntries(Object.entries(all).map(([name, count]) => [name, only?.includes(name) ?? true ? count : 0])) as unknown as AbuseCounts
  const origin = await startSuperNode({ port: 0 })
  cleanup.after(async () => { await origin.close() })
  const relay = await spawnRelay(cleanup, [origin], { transport: { engine: 'quinn', handshake_timeout_ms: 2_000, idle_timeout_ms: 10_000 }, overload: NEVER_OVERLOADED })
  const abuse = await GatewayAbuse.of(relay)
  cleanup.after(() => { abuse.end() })
  process.stdout.write('| round | phase | count | s | RSS before, MB | at most | after | witness at most, ms | largest sizes on the way |\n|---|---|---|---|---|---|---|---|---|\n')
  for (const round of ['warm-up', 'measured']) await abuse.run(counts, row => { print(round, row) })
})
