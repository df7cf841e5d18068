/*
 * What a cache index of a million entries costs: `node --import tsx benchmarks/index-million.ts [entries] [shards of a CID]`.
 * Builds a synthetic LMDB index without files, then measures in fresh processes, each on a copy of its own. Prints one table.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { copyFile, mkdir, mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { systemClock, systemTimers } from '../src/base/clock.ts'
import { DiskStore } from '../src/plugins/shard-cache/disk-store.ts'
import type { EntryRecord } from '../src/plugins/shard-cache/entry.ts'
import { checkIndex } from '../src/plugins/shard-cache/index-check.ts'
import { openIndexDb } from '../src/plugins/shard-cache/index-db.ts'
import { ShardCache } from '../src/plugins/shard-cache/shard-cache.ts'
import { TOTAL_SHARDS } from '../src/protocol/shard-key.ts'
import { systemFiles } from '../src/storage/disk-files.ts'
import { median } from '../tools/harness/median.ts'

const RUNS = 3
const SHARD_BYTES = 1_000_000
const BUILD_BATCH = 20_000

interface Measurement {
  readonly checkMs: number
  readonly openMs: number
  /** The longest that opening kept the event loop, ms. */
  readonly heldMs: number
  readonly before: Resident
  readonly after: Resident
  readonly heapAfter: number
  readonly getPerSecond: number
  readonly putPerSecond: number
  readonly pageMs: number
}

/** Resident memory, bytes: all of it, and the part that no file stands behind. */
interface Resident { readonly all: number, readonly anonymous: number }

function resident (): Resident {
  const [, kilobytes] = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'latin1')) ?? []
  return { all: process.memoryUsage.rss(), anonymous: Number(kilobytes) * 1024 }
}

/** CIDs of 46 characters as IPFS has them. */
function idOf (n: number, shards: number): string {
  const cid = createHash('sha256').update(String(Math.floor(n / shards))).digest('hex').slice(0, 44)
  return `Qm${cid}/${n % shards}`
}

function recordOf (n: number): EntryRecord {
  const sha256 = createHash('sha256').update(`body ${n}`).digest('hex')
  return { size: SHARD_BYTES, sha256, storedAt: 1_700_000_000_000 + n, lastAccess: 1_700_000_000_000 + (n * 7_919) % 1_000_003, hits: n % 50, generation: `loyw3v28abcd${n.toString(36)}` }
}

async function build (directory: string, entries: number, shards: number): Promise<void> {
  const db = openIndexDb(directory)
  for (let from = 0; from < entries; from += BUILD_BATCH) {
    const batch = new Map<string, EntryRecord>()
    for (let n = from; n < Math.min(from + BUILD_BATCH, entries); n++) batch.set(idOf(n, shards), recordOf(n))
    await db.write(batch)
  }
  await db.close()
}

/** Runs in a process of its own, so that nothing of the building is in its memory. */
async function measure (directory: string, entries: number, shards: number): Promise<Measurement> {
  const checked = performance.now()
  await checkIndex(directory, { timers: systemTimers })
  const checkMs = performance.now() - checked

  const observer = { diskIo: () => {}, diskError: (_: string, code: string) => { throw new Error(code) }, removed: () => {}, stored: () => {}, storeBypassed: () => {} }
  globalThis.gc?.()
  const before = resident()
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const opened = performance.now()
  const db = openIndexDb(directory)
  const store = new DiskStore({ root: '/nonexistent', maxBytes: 4 * entries * SHARD_BYTES, passThroughBytes: 0, fs: systemFiles, db, clock: systemClock, bootId: Date.now().toString(36), observer, eviction: 's3-fifo' })
  if (await store.restore() < entries) throw new Error(`${store.count} of ${entries} entries restored`)
  const openMs = performance.now() - opened
  delay.disable()
  globalThis.gc?.()
  const after = resident()
  const { heapUsed: heapAfter } = process.memoryUsage()

  const wanted = Array.from({ length: 200_000 }, () => idOf(Math.floor(Math.random() * entries), shards))
  const got = performance.now()
  for (const id of wanted) if (store.find(id) === undefined) throw new Error(`${id} is missing`)
  const getPerSecond = wanted.length / (performance.now() - got) * 1_000
  await store.flush()

  const puts = Math.min(entries, 200_000)
  const run = Math.floor(Math.random() * 1e6)
  const fresh = Array.from({ length: puts }, (_, n) => ({ id: idOf(entries * (2 + run) + n, shards), record: recordOf(n) }))
  const put = performance.now()
  for (const [n, { id, record }] of fresh.entries()) {
    if (!store.adopt(id, record)) throw new Error(`${id} was not stored`)
    // A relay stores between other events; the write-behind batches need them too.
    if (n % 1_000 === 0) await new Promise(resolve => setImmediate(resolve))
  }
  await store.index.flush()
  const putPerSecond = puts / (performance.now() - put) * 1_000

  const reconciled = Promise.resolve({ confirmed: 0, orphansRemoved: 0, adopted: 0, found: 0, missingDropped: 0, errors: 0 })
  const cache = new ShardCache({ disk: store, db, ramBytes: 0, observer, reconciled })
  const paged = performance.now()
  const PAGES = 200
  for (let n = 0; n < PAGES; n++) {
    const { entries: page } = await cache.list({ cursor: idOf(Math.floor(Math.random() * entries * 0.9), shards), limit: 100 })
    if (page.length === 0) throw new Error('an empty page')
  }
  const pageMs = (performance.now() - paged) / PAGES
  await db.close()
  return { checkMs, openMs, heldMs: delay.max / 1e6, before, after, heapAfter, getPerSecond, putPerSecond, pageMs }
}

async function main (entries: number, shards: number): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), 'icn-relay-bench-'))
  const directory = join(root, 'index')
  try {
    const started = performance.now()
    await build(directory, entries, shards)
    const buildMs = performance.now() - started
    const { size } = await stat(join(directory, 'data.mdb'))
    const runs: Measurement[] = []
    for (let run = 0; run < RUNS; run++) {
      const copy = join(root, `run-${run}`)
      await mkdir(copy)
      await copyFile(join(directory, 'data.mdb'), join(copy, 'data.mdb'))
      // The pages are in the page cache, as after a restart of the process; a reboot adds one sequential read of the file.
      await readFile(join(copy, 'data.mdb'))
      const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', '--import', 'tsx', fileURLToPath(import.meta.url), '--measure', copy, String(entries), String(shards)])
      runs.push(JSON.parse(stdout) as Measurement)
      await rm(copy, { recursive: true })
    }
    const of = (pick: (run: Measurement) => number): number => median(runs.map(pick))
    const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`
    const rows: [string, string][] = [
      ['entries', `${entries}, ${shards} of a CID`],
      ['index file', mb(size)],
      ['build (LMDB batches of 20,000)', `${(buildMs / 1_000).toFixed(1)} s`],
      ['check in a process of its own', `${of(run => run.checkMs).toFixed(0)} ms`],
      ['open and restore', `${of(run => run.openMs).toFixed(0)} ms`],
      ['longest turn meanwhile', `${of(run => run.heldMs).toFixed(0)} ms`],
      ['RSS before / after', `${mb(of(run => run.before.all))} / ${mb(of(run => run.after.all))}`],
      ['of it anonymous', `${mb(of(run => run.before.anonymous))} / ${mb(of(run => run.after.anonymous))}`],
      ['JS heap after', mb(of(run => run.heapAfter))],
      ['get (find)', `${Math.round(of(run => run.getPerSecond))} /s`],
      ['put (index and LMDB, flushed)', `${Math.round(of(run => run.putPerSecond))} /s`],
      ['list page of 100', `${of(run => run.pageMs).toFixed(2)} ms`]
    ]
    process.stdout.write(`median of ${RUNS}, Node ${process.version}\n`)
    for (const [name, value] of rows) process.stdout.write(`${name.padEnd(32)} ${value}\n`)
  } finally {
    await rm(root, { recursive: true, force: true })
  }
}

const [first, ...rest] = process.argv.slice(2)
if (first === '--measure') {
  const [directory = '', entries, shards] = rest
  process.stdout.write(JSON.stringify(await measure(directory, Number(entries), Number(shards))))
} else {
  await main(Number(first ?? 1_000_000), Number(rest[0] ?? TOTAL_SHARDS))
}
