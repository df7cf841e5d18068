/**
 * Origins that fail or lag, against real super-node and relay processes on loopback:
 *   node --import tsx benchmarks/origins.ts [kills] [misses]
 * 1. The nearest super-node is killed in the middle of an 8 MiB body (50 times): the longest pause a viewer sees from then on.
 * 2. 1,000 misses, 50 a second, while one of three super-nodes has a fifth of its answers 2 s late: defaults, then sequential retry in the same
 *    run. They come by the clock: a relay that makes its viewers wait must not get fewer of them for it before it has found out (coordinated omission).
 */
import { setTimeout } from 'node:timers/promises'
import { Agent } from 'undici'
import { withCleanup } from '../tools/harness/cleanup.ts'
import { fetchTimed, killMidBody, quantile, spawnThree, type Timed } from '../tools/harness/origins.ts'
import { spawnRelay, spawnSuperNode } from '../tools/harness/processes.ts'

const KILLS = Number(process.argv[2] ?? 50)
const MISSES = Number(process.argv[3] ?? 1_000)
/** Between two misses, ms. */
const INTERVAL_MS = 20
const MB = 1024 * 1024
const OWN = { region: { override: 'NA-WEST' }, transport: { engine: 'off' } }
/** As the earlier version did it: one after the other, each with its own time. */
const SEQUENTIAL = { first_byte_timeout_ms: 30_000, hedge_budget_percent: 0 }

function line (name: string, values: readonly number[]): string {
  return `${name}: p50 ${quantile(values, 0.5).toFixed(0)}, p90 ${quantile(values, 0.9).toFixed(0)}, p99 ${quantile(values, 0.99).toFixed(0)}, max ${quantile(values, 1).toFixed(0)} ms`
}

async function kills (): Promise<void> {
  const pauses: number[] = []
  let wrong = 0
  for (let n = 0; n < KILLS; n++) {
    await withCleanup(async cleanup => {
      const [nearest, ...others] = await spawnThree(cleanup, [5, 60, 120])
      const relay = await spawnRelay(cleanup, [nearest, ...others], OWN)
      await nearest.setFaults({ bytesPerSecond: 20_000_000 })
      const { right, pauseMs } = await killMidBody(relay.viewerUrl, nearest, `syn-${8 * MB}-kill${n}`)
      if (!right) wrong++
      pauses.push(pauseMs)
    })
  }
  console.log(line(`longest pause after a kill, ${KILLS} runs, ${wrong} wrong bodies`, pauses))
}

async function misses (name: string, upstream: Record<string, unknown>): Promise<readonly number[]> {
  let times: readonly number[] = []
  await withCleanup(async cleanup => {
    // The late one is the only one of our region, so that it stays the first to be asked.
    const nodes = await Promise.all(['NA-WEST', 'EU-WEST', 'APAC'].map(async region => await spawnSuperNode(cleanup, region, { latencyMs: 5 })))
    const relay = await spawnRelay(cleanup, nodes, { ...OWN, upstream })
    await nodes[0]?.setFaults({ latencyMs: 5, delayRate: 0.2, delayMs: 2_000, seed: 1 })
    const agent = new Agent({ connections: 128 })
    const start = performance.now()
    const bodies: Timed[] = await Promise.all(Array.from({ length: MISSES }, async (_, n) => {
      await setTimeout(Math.max(0, start + n * INTERVAL_MS - performance.now()))
      return await fetchTimed(relay.viewerUrl, `syn-20000-late${n}`, agent)
    }))
    await agent.destroy()
    const asked = (await Promise.all(nodes.map(async node => (await node.stats()).requests))).reduce((sum, count) => sum + count, 0)
    times = bodies.map(({ firstByteMs, totalMs }) => Number.isNaN(firstByteMs) ? totalMs : firstByteMs)
    console.log(line(`${name}, ${MISSES} misses, ${bodies.filter(({ right }) => !right).length} failed, ${((asked - MISSES) / MISSES * 100).toFixed(1)} % further requests`, times))
  })
  return times
}

if (KILLS > 0) await kills()
if (MISSES > 0) {
  const hedged = await misses('hedged', {})
  const sequential = await misses('sequential', SEQUENTIAL)
  console.log(`p99 sequential / hedged: ${(quantile(sequential, 0.99) / quantile(hedged, 0.99)).toFixed(1)}`)
}
