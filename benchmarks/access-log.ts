/**
 * CPU of a small answer from the cache with the access log off, sampled, and in each of its formats, in turns: `node --import tsx benchmarks/access-log.ts
 * [--rounds=7] [--old <directory>]`. `--old` names a built checkout to compare with. Hits of 1 KB over HTTP/1.1, ten connections, from a process of its own, into a pipe that is read, and
 * into a file. CPU of the relay per request: medians, and the median of the ratios to "off" of the same round. Linux.
 */
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import autocannon from 'autocannon'
import { withCleanup } from '../tools/harness/cleanup.ts'
import { cpuMs } from '../tools/harness/proc.ts'
import { median } from '../tools/harness/median.ts'
import { spawnRelay, spawnSuperNode } from '../tools/harness/processes.ts'
import { temporaryDirectory } from '../tools/harness/temporary-directory.ts'
import { line } from './contender.ts'

const { values: { old: OLD, rounds } } = parseArgs({ options: { old: { type: 'string' }, rounds: { type: 'string', default: '7' } } })
const ROUNDS = Number(rounds)
const REQUESTS = 10_000
const PATH = '/shards/syn-1000-small/shard_0.bin'

await withCleanup(async cleanup => {
  const directory = await temporaryDirectory(cleanup)
  const node = await spawnSuperNode(cleanup, 'NA-WEST')
  const now = resolve('dist/start.cjs')
  const settings: readonly (readonly [name: string, accessLog: Record<string, unknown> | undefined, program: string])[] = [
    ['off', { enabled: false }, now],
    ['1 % of hits', { sample_hits: 0.01 }, now],
    ['json', {}, now],
    ['clf', { format: 'clf' }, now],
    ['json, hashed addresses', { addresses: 'hashed' }, now],
    ['json, to a file', { path: join(directory, 'access.log') }, now],
    ...OLD === undefined ? [] : [['before', undefined, join(resolve(OLD), 'dist/start.cjs')] as const]
  ]
  const relays = await Promise.all(settings.map(async ([, accessLog, program]) => await spawnRelay(cleanup, [node], { transport: { engine: 'off' }, ...accessLog === undefined ? {} : { access_log: accessLog } }, undefined, { program })))
  const costOf = async (relay: typeof relays[number]): Promise<number> => {
    const before = await cpuMs(relay.pid)
    const { '2xx': answered } = await autocannon({ url: relay.viewerUrl + PATH, connections: 10, amount: REQUESTS })
    if (answered !== REQUESTS) throw new Error(`${answered} of ${REQUESTS} were answered`)
    relay.events.length = 0
    return (await cpuMs(relay.pid) - before) * 1_000 / REQUESTS
  }
  for (const relay of relays) await costOf(relay)
  const rounds: number[][] = []
  for (let round = 0; round < ROUNDS; round++) {
    const costs: number[] = relays.map(() => 0)
    // Begun elsewhere each time, so that what a machine does meanwhile falls on all of them.
    for (let step = 0; step < relays.length; step++) {
      const at = (round + step) % relays.length
      const relay = relays[at]
      if (relay !== undefined) costs[at] = await costOf(relay)
    }
    rounds.push(costs)
  }
  line('access log', 'CPU µs a hit', 'to off, median', 'least', 'most')
  line('---', '---', '---', '---', '---')
  for (const [at, [name]] of settings.entries()) {
    const ratios = rounds.map(costs => (costs[at] ?? 0) / (costs[0] ?? 1))
    line(name, median(rounds.map(costs => costs[at] ?? 0)).toFixed(1), median(ratios).toFixed(3), Math.min(...ratios).toFixed(3), Math.max(...ratios).toFixed(3))
  }
  for (const relay of relays) {
    relay.child.kill('SIGTERM')
    await relay.exit
  }
})
