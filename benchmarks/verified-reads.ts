/**
 * What `cache.verify_reads` costs a hit from disk over HTTP: `node --import tsx benchmarks/verified-reads.ts`. Three relays, one for each mode, with the same
 * objects on disk, are started anew and asked in turn, so that what else the machine does falls on all of them; times are medians, and ratios are to `never`.
 */
import { startSuperNode } from '../demo/super-node/server.ts'
import { withCleanup } from '../tools/harness/cleanup.ts'
import { cpuMs } from '../tools/harness/proc.ts'
import { cacheStats, fetchHashed, until } from '../tools/harness/http.ts'
import { median } from '../tools/harness/median.ts'
import { buildRelay, spawnRelay, type SpawnedRelay } from '../tools/harness/processes.ts'

const SIZE = 7_500_000
const OBJECTS = 12
const ROUNDS = 8
const RANGE_BYTES = 100_000
const MODES = ['never', 'first', 'always'] as const
type Mode = typeof MODES[number]

interface Cost { readonly wallMs: number, readonly cpuMs: number }

const url = (relay: SpawnedRelay, n: number): string => `${relay.viewerUrl}/shards/syn-${SIZE}-verified${n}/shard_0.bin`

/** One hit of each relay in turn; the order turns as well. */
async function inTurn (relays: ReadonlyMap<Mode, SpawnedRelay>, turn: number, n: number, headers: Record<string, string>, costs: ReadonlyMap<Mode, Cost[]>): Promise<void> {
  for (let at = 0; at < MODES.length; at++) {
    const mode = MODES[(at + turn) % MODES.length] ?? 'never'
    const relay = relays.get(mode)
    if (relay === undefined) continue
    const [cpu, wall] = [await cpuMs(relay.pid), performance.now()]
    await fetchHashed(url(relay, n), headers)
    const wallMs = performance.now() - wall
    costs.get(mode)?.push({ wallMs, cpuMs: await cpuMs(relay.pid) - cpu })
  }
}

function report (title: string, costs: ReadonlyMap<Mode, readonly Cost[]>): void {
  const of = (mode: Mode): Cost => {
    const all = costs.get(mode) ?? []
    return { wallMs: median(all.map(({ wallMs }) => wallMs)), cpuMs: all.reduce((sum, cost) => sum + cost.cpuMs, 0) / all.length }
  }
  const plain = of('never')
  for (const mode of MODES) {
    const cost = of(mode)
    console.log(`${title.padEnd(26)} ${mode.padEnd(7)} ${cost.wallMs.toFixed(1).padStart(6)} ms (${(cost.wallMs / plain.wallMs).toFixed(2)}) ${cost.cpuMs.toFixed(1).padStart(6)} CPU ms (${(cost.cpuMs / plain.cpuMs).toFixed(2)})`)
  }
}

await withCleanup(async cleanup => {
  const origin = await startSuperNode({ port: 0 })
  cleanup.after(async () => { await origin.close() })
  const program = await buildRelay(cleanup)
  const start = async (mode: Mode, path?: string): Promise<SpawnedRelay> =>
    await spawnRelay(cleanup, [origin], { cache: { verify_reads: mode, ram_bytes: 0 }, scrub: { bytes_per_second: 0 }, transport: { engine: 'off' } }, path, { program })
  const relays = new Map<Mode, SpawnedRelay>()
  for (const mode of MODES) {
    const relay = await start(mode)
    for (let n = 0; n < OBJECTS; n++) await fetchHashed(url(relay, n))
    await until(async () => (await cacheStats(relay.adminUrl)).disk.entries, entries => entries === OBJECTS)
    relay.child.kill('SIGTERM')
    await relay.exit
    relays.set(mode, await start(mode, relay.cachePath))
  }
  const empty = (): Map<Mode, Cost[]> => new Map(MODES.map(mode => [mode, []]))
  const [firstHits, hits, ranges] = [empty(), empty(), empty()]
  for (let n = 0; n < OBJECTS; n++) await inTurn(relays, n, n, {}, firstHits)
  for (let round = 0; round < ROUNDS; round++) {
    for (let n = 0; n < OBJECTS; n++) {
      await inTurn(relays, n + round, n, {}, hits)
      await inTurn(relays, n + round, n, { range: `bytes=${SIZE / 2}-${SIZE / 2 + RANGE_BYTES - 1}` }, ranges)
    }
  }
  report('first hit since the start', firstHits)
  report('later hit', hits)
  report(`range of ${RANGE_BYTES / 1_000} kB`, ranges)
})
