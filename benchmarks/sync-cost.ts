/**
 * What `cache.sync` costs: `node --import tsx benchmarks/sync-cost.ts [rounds]`. Three relays, `none`, `data` and `full`, take turns at misses of 8 MiB and of 64 KiB: those of some videos one after the
 * other, for CPU of the relay and time to the last byte, then 13 at the same time, for the time until all are stored. Medians over rounds, and ratios to `none` of each round for itself. What it costs is the
 * disk's to say: the temporary directory (`TMPDIR`) decides which. Linux; needs a build.
 */
import { performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { withCleanup } from '../tools/harness/cleanup.ts'
import { cpuMs } from '../tools/harness/proc.ts'
import { fetchClocked, metric } from '../tools/harness/http.ts'
import { PATIENT_UPSTREAM } from '../tools/harness/limits.ts'
import { median } from '../tools/harness/median.ts'
import { spawnRelay, spawnSuperNode } from '../tools/harness/processes.ts'
import { line } from './contender.ts'

const ROUNDS = Number(process.argv[2] ?? 8)
const POLICIES = ['none', 'data', 'full'] as const
/** Videos of a round whose shards are fetched one after the other: enough for the clock that counts CPU in steps of 10 ms. */
const SIZES = [{ size: 8 * 1024 * 1024, videos: 1 }, { size: 64 * 1024, videos: 12 }]
const SHARDS = 13
/** Between two looks whether everything is stored, ms. */
const LOOK_MS = 2

interface Round { readonly cpuMs: number, readonly lastMs: number, readonly storedMs: number }

async function miss (url: string, size: number): Promise<number> {
  const { status, headers, bytes, wholeMs } = await fetchClocked(url)
  if (status !== 200 || bytes !== size || String(headers['cache-status']).includes('; hit')) throw new Error(`${url}: ${status}, ${bytes} bytes, ${String(headers['cache-status'])}`)
  return wholeMs
}

await withCleanup(async cleanup => {
  const node = await spawnSuperNode(cleanup, 'NA-WEST')
  const relays = await Promise.all(POLICIES.map(async sync => ({
    sync,
    relay: await spawnRelay(cleanup, [node], { transport: { engine: 'off' }, upstream: PATIENT_UPSTREAM, cache: { sync, integrity: 'digest', ram_bytes: 0 }, prefetch: { enabled: false } })
  })))
  line('bytes', 'cache.sync', 'CPU ms a miss', 'last byte, ms', 'ms until 13 are stored')
  line('---', '---', '---', '---', '---')
  for (const { size, videos } of SIZES) {
    const rounds = new Map<string, Round[]>(POLICIES.map(sync => [sync, []]))
    for (let round = -1; round < ROUNDS; round++) {
      const urls = (base: string, count: number, name: string): string[] => Array.from({ length: count * SHARDS }, (_, n) => `${base}/shards/syn-${size}-${name}${round + 1}v${Math.floor(n / SHARDS)}/shard_${n % SHARDS}.bin`)
      const [turn, burst] = [(base: string) => urls(base, videos, 'turn'), (base: string) => urls(base, 1, 'burst')]
      // The super-node makes up its shards as they are asked for, and keeps them.
      for (const url of [...turn(node.url), ...burst(node.url)]) await fetchClocked(url)
      for (const { sync, relay } of round % 2 === 0 ? relays : relays.toReversed()) {
        const stored = async (): Promise<void> => { while (await metric(relay.adminUrl, 'icn_relay_fills') > 0) await delay(LOOK_MS) }
        const before = await cpuMs(relay.pid)
        const times = []
        for (const url of turn(relay.viewerUrl)) times.push(await miss(url, size))
        await stored()
        const cpu = (await cpuMs(relay.pid) - before) / times.length
        const began = performance.now()
        await Promise.all(burst(relay.viewerUrl).map(async url => await miss(url, size)))
        await stored()
        if (round >= 0) rounds.get(sync)?.push({ cpuMs: cpu, lastMs: median(times), storedMs: performance.now() - began })
      }
    }
    const of = (sync: string, name: keyof Round, others?: readonly Round[]): number => median((rounds.get(sync) ?? []).map((round, at) => round[name] / (others?.[at]?.[name] ?? 1)))
    for (const sync of POLICIES) line(String(size), sync, of(sync, 'cpuMs').toFixed(2), of(sync, 'lastMs').toFixed(2), of(sync, 'storedMs').toFixed(0))
    for (const sync of ['data', 'full']) line(String(size), `${sync} to none`, ...(['cpuMs', 'lastMs', 'storedMs'] as const).map(name => of(sync, name, rounds.get('none')).toFixed(2)))
  }
})
