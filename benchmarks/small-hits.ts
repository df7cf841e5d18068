/**
 * CPU of a small answer from the cache, of this version and another in turns: `node --import tsx benchmarks/small-hits.ts --old <directory> [--rounds=7]`.
 * `--old` names a built checkout. Hits of 1 KB over HTTP/1.1, ten connections, from a process of its own; log level `info`, and standard output
 * that is read. CPU of the relay per request, medians and the ratio of each round. Linux.
 */
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import autocannon from 'autocannon'
import { withCleanup } from '../tools/harness/cleanup.ts'
import { cpuMs } from '../tools/harness/proc.ts'
import { median } from '../tools/harness/median.ts'
import { spawnRelay, spawnSuperNode } from '../tools/harness/processes.ts'
import { line } from './contender.ts'

const { values: { old: OLD, rounds } } = parseArgs({ options: { old: { type: 'string' }, rounds: { type: 'string', default: '7' } } })
const ROUNDS = Number(rounds)
const REQUESTS = 20_000
const PATH = '/shards/syn-1000-small/shard_0.bin'

if (OLD === undefined) throw new Error('--old <directory of a built checkout>')

await withCleanup(async cleanup => {
  const node = await spawnSuperNode(cleanup, 'NA-WEST')
  line('CPU µs a request: now', 'before', 'now to before, median', 'least', 'most')
  line('---', '---', '---', '---', '---')
  const relays = await Promise.all([resolve('dist/start.cjs'), join(resolve(OLD), 'dist/start.cjs')].map(async program => await spawnRelay(cleanup, [node], { transport: { engine: 'off' } }, undefined, { program })))
  const costOf = async (relay: typeof relays[number], amount: number): Promise<number> => {
    const before = await cpuMs(relay.pid)
    const { '2xx': answered } = await autocannon({ url: relay.viewerUrl + PATH, connections: 10, amount })
    if (answered !== amount) throw new Error(`${answered} of ${amount} were answered`)
    return (await cpuMs(relay.pid) - before) * 1_000 / amount
  }
  for (const relay of relays) await costOf(relay, REQUESTS)
  const rounds: number[][] = []
  for (let round = 0; round < ROUNDS; round++) {
    const costs = [0, 0]
    for (const at of round % 2 === 0 ? [0, 1] : [1, 0]) {
      const relay = relays[at]
      if (relay !== undefined) costs[at] = await costOf(relay, REQUESTS)
    }
    rounds.push(costs)
  }
  const ratios = rounds.map(([now = 0, before = 0]) => now / before)
  line(...[0, 1].map(at => median(rounds.map(costs => costs[at] ?? 0)).toFixed(1)), median(ratios).toFixed(3), Math.min(...ratios).toFixed(3), Math.max(...ratios).toFixed(3))
  for (const relay of relays) {
    relay.child.kill('SIGTERM')
    await relay.exit
  }
})
