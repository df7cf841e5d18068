/**
 * A relay with a large cache, ended at every moment of its start: `node --import tsx benchmarks/start-signals.ts [--objects=100000] [--step=50] [--first]`. By
 * SIGKILL and SIGTERM, and by both as process 1 (root; `--first` for that alone). Afterwards every object has to be there. Linux.
 */
import { join } from 'node:path'
import { systemClock } from '../src/base/clock.ts'
import { openCache, type OpenedCache } from '../src/plugins/shard-cache/open-cache.ts'
import { spawnRelay } from '../tools/harness/processes.ts'
import { temporaryDirectory } from '../tools/harness/temporary-directory.ts'
import { configFor, endEarly } from '../tools/harness/start-signals.ts'
import { withCleanup } from '../tools/harness/cleanup.ts'
import { storeBytes } from '../tools/harness/store-bytes.ts'
import { line } from './contender.ts'
import { median } from '../tools/harness/median.ts'

const number = (name: string, otherwise: number): number => Number(process.argv.find(argument => argument.startsWith(`--${name}=`))?.split('=')[1] ?? otherwise)
const OBJECTS = number('objects', 100_000)
const STEP_MS = number('step', 50)
const FIRST_ONLY = process.argv.includes('--first')
const WRITERS = 16

async function open (path: string): Promise<OpenedCache> {
  const nothing = (): void => {}
  return await openCache({
    path,
    maxBytes: 1e12,
    ramBytes: 0,
    passThroughBytes: 1e6,
    clock: systemClock,
    random: Math.random,
    log: nothing,
    observer: { diskIo: nothing, diskError: nothing, removed: nothing, stored: nothing, storeBypassed: nothing }
  })
}

/** What is wrong with the cache; nothing when every object is there. */
async function faults (path: string): Promise<string[]> {
  const opened = await open(path)
  const report = await opened.cache.reconciled
  await opened.close()
  return opened.restored === OBJECTS && report.confirmed === OBJECTS && report.orphansRemoved === 0 ? [] : [JSON.stringify({ restored: opened.restored, ...report })]
}

await withCleanup(async cleanup => {
  const directory = await temporaryDirectory(cleanup)
  const path = join(directory, 'cache')
  const filling = await open(path)
  let next = 0
  await Promise.all(Array.from({ length: WRITERS }, async () => {
    while (next < OBJECTS) {
      const n = next++
      if (!await storeBytes(filling.cache, { cid: `object-${n}`, part: n % 14 }, Buffer.from(`body ${n}`))) throw new Error(`object ${n} was not stored`)
    }
  }))
  await filling.close()
  const config = await configFor(directory, path)
  const began = performance.now()
  const { child, exit } = await withCleanup(async start => {
    const relay = await spawnRelay(start, [{ url: 'http://127.0.0.1:9', region: 'APAC' }], { transport: { engine: 'off' } }, path)
    return relay
  })
  child.kill()
  await exit
  const startMs = performance.now() - began
  process.stdout.write(`${OBJECTS} objects, a whole start takes ${Math.round(startMs)} ms\n\n`)
  line('ended by', 'moments', 'not ended when told', 'ms to the end, median', 'at most', 'faults of the cache')
  line('---', '---', '---', '---', '---', '---')
  let failed = false
  const ways = [['SIGKILL', false], ['SIGTERM', false], ...process.getuid?.() === 0 ? [['SIGKILL', true], ['SIGTERM', true]] as const : []] as const
  for (const [signal, first] of ways.filter(([, asFirst]) => asFirst || !FIRST_ONLY)) {
    const times: number[] = []
    const wrong: string[] = []
    for (let afterMs = 0; afterMs <= startMs + STEP_MS; afterMs += STEP_MS) {
      const ended = await endEarly(config, { signal, afterMs, first })
      times.push(ended.ms)
      // Of a process 1 that was killed `unshare` says nothing but its own 1.
      const asTold = ended.code === 0 || ended.signal === signal || (first && signal === 'SIGKILL')
      if (!asTold) wrong.push(`${afterMs} ms: ${JSON.stringify(ended)}`)
    }
    const found = await faults(path)
    line(first ? `${signal}, as process 1` : signal, times.length, wrong.length, median(times).toFixed(0), Math.max(...times).toFixed(0), found.join(' ') || 'none')
    for (const text of wrong) process.stdout.write(`${text}\n`)
    failed ||= wrong.length + found.length > 0
  }
  process.exitCode = failed ? 1 : 0
})
