/**
 * What a denylist of a million hashed entries costs: `node --import tsx benchmarks/denylist.ts [entries]`. Reading it in the process that serves (event-loop
 * delay meanwhile, beside that of the same time idle), its memory, and a lookup whose verdict nobody remembers, with the list and with one of a tenth.
 */
import { createHash } from 'node:crypto'
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import type { DeniedSet } from '../src/plugins/denylist/denied-set.ts'
import { cidDigest } from '../src/plugins/denylist/entry.ts'
import { parseList } from '../src/plugins/denylist/list-text.ts'
import { median } from '../tools/harness/median.ts'
import { line } from './contender.ts'

const ENTRIES = Number(process.argv[2] ?? 1_000_000)
const LOOKUPS = 200_000
const ROUNDS = 5

function textOf (entries: number): Buffer {
  const text = Buffer.alloc(entries * 67, '\n')
  for (let n = 0; n < entries; n++) text.write(`//${createHash('sha256').update(`denied-${n}/`).digest('hex')}`, n * 67, 'latin1')
  return text
}

/** @returns p99 and most of the event-loop delay while `work` runs, ms */
async function delayOf (work: () => Promise<unknown>): Promise<[p99: number, most: number]> {
  const histogram = monitorEventLoopDelay({ resolution: 1 })
  histogram.enable()
  await work()
  histogram.disable()
  return [histogram.percentile(99) / 1e6, histogram.max / 1e6]
}

/** @returns µs a lookup: the digest of the CID included, and without */
function lookupOf (set: DeniedSet, round: number): [whole: number, found: number] {
  const digests: Buffer[] = []
  let began = performance.now()
  for (let n = 0; n < LOOKUPS; n++) digests.push(cidDigest(`cid-${round}-${n}`))
  const hashing = performance.now() - began
  began = performance.now()
  for (const digest of digests) if (set.denies('cid', digest)) throw new Error('found what is not there')
  const finding = performance.now() - began
  return [(hashing + finding) * 1_000 / LOOKUPS, finding * 1_000 / LOOKUPS]
}

const text = textOf(ENTRIES)
const small = (await parseList(textOf(ENTRIES / 10))).set
const rounds: Record<'ms' | 'p99' | 'most' | 'idle' | 'bytes' | 'whole' | 'found' | 'foundSmall', number>[] = []
for (let round = 0; round < ROUNDS; round++) {
  const began = performance.now()
  let set: DeniedSet | undefined
  const [p99, most] = await delayOf(async () => { set = (await parseList(text)).set })
  const ms = performance.now() - began
  const [idle] = await delayOf(async () => { await delay(500) })
  if (set?.size !== ENTRIES) throw new Error(`${set?.size} entries`)
  const [whole, found] = lookupOf(set, round)
  const [, foundSmall] = lookupOf(small, round)
  rounds.push({ ms, p99, most, idle, bytes: set.bytes, whole, found, foundSmall })
}
const of = (name: keyof typeof rounds[number]): number => median(rounds.map(round => round[name]))
line('entries', 'read in, ms', 'loop delay p99, ms', 'most', 'idle p99', 'bytes an entry', 'lookup, µs', 'of that the set', 'the set at a tenth')
line('---', '---', '---', '---', '---', '---', '---', '---', '---')
line(ENTRIES.toString(), of('ms').toFixed(0), of('p99').toFixed(1), of('most').toFixed(1), of('idle').toFixed(1), (of('bytes') / ENTRIES).toFixed(1), of('whole').toFixed(2), of('found').toFixed(3), of('foundSmall').toFixed(3))
