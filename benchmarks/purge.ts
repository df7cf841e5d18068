/**
 * What a purge of many objects costs: `node --import tsx benchmarks/purge.ts [entries]`. A relay with 100,000 objects of 1 KiB, ten of a CID, half of the CIDs
 * tagged, is purged by tag and then by prefix while viewers get hits of others over HTTP. Time, event-loop delay beside that of the same hits alone, the slowest
 * hit; and nothing of what was purged is served afterwards, nor by the same cache opened again.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises'
import { request } from 'undici'
import { relativeFile } from '../src/plugins/shard-cache/entry.ts'
import type { ShardCache } from '../src/plugins/shard-cache/shard-cache.ts'
import { keyId } from '../src/protocol/shard-key.ts'
import { withCleanup } from '../tools/harness/cleanup.ts'
import { median } from '../tools/harness/median.ts'
import { startRelay } from '../tools/harness/relay.ts'
import { line } from './contender.ts'

const ENTRIES = Number(process.argv[2] ?? 100_000)
const PARTS = 10
const KEPT = 500
const ROUNDS = 5
const HITS_PER_SECOND = 200
const IDLE_MS = 1_000
const body = Buffer.alloc(1_024, 'x')
const sha256 = createHash('sha256').update(body).digest('hex')

const cidOf = (n: number): string => n < KEPT ? `keep-${n}` : `video-${n}`
const isTagged = (n: number): boolean => n >= KEPT && n % 2 === 0

/** Takes over files, which costs no fsync for each. */
async function fill (cache: ShardCache, round: number): Promise<void> {
  for (let n = 0; n < KEPT + ENTRIES / PARTS; n++) {
    for (let part = 0; part < (n < KEPT ? 1 : PARTS); part++) {
      const id = keyId({ cid: cidOf(n), part })
      const generation = `bench${round}`
      const file = join(cache.disk.root, relativeFile(id, generation))
      if (cache.disk.peek(id) !== undefined) continue
      mkdirSync(dirname(file), { recursive: true })
      writeFileSync(file, body)
      if (!cache.disk.adopt(id, { size: body.length, sha256, storedAt: Date.now(), lastAccess: Date.now(), hits: 0, generation })) throw new Error(`${id} was not taken over`)
    }
    if (isTagged(n)) cache.addTags(cidOf(n), ['news'])
    if (n % 100 === 0) await nextTurn()
  }
  await cache.flush()
}

interface Measured { readonly ms: number, readonly p99: number, readonly most: number, readonly hits: number, readonly slowest: number }

/** Runs `work` while hits are served. */
async function whileServing (viewerUrl: string, work: () => Promise<unknown>): Promise<Measured> {
  const histogram = monitorEventLoopDelay({ resolution: 1 })
  const times: number[] = []
  const open = new Set<Promise<void>>()
  const ask = async (n: number): Promise<void> => {
    const began = performance.now()
    const { headers, body: answer } = await request(`${viewerUrl}/shards/${cidOf(n % KEPT)}/shard_0.bin`)
    if ((await answer.arrayBuffer()).byteLength !== body.length || headers['cache-status'] !== 'icn-relay; hit') throw new Error('not a hit')
    times.push(performance.now() - began)
  }
  let n = 0
  const timer = setInterval(() => {
    const asked: Promise<void> = ask(n++).finally(() => { open.delete(asked) })
    open.add(asked)
  }, 1_000 / HITS_PER_SECOND)
  histogram.enable()
  const began = performance.now()
  await work()
  const ms = performance.now() - began
  histogram.disable()
  clearInterval(timer)
  await Promise.all(open)
  return { ms, p99: histogram.percentile(99) / 1e6, most: histogram.max / 1e6, hits: times.length, slowest: Math.max(...times) }
}

await withCleanup(async cleanup => {
  const { relay: { admin: { shardCache: cache, purger } }, viewerUrl } = await startRelay(cleanup, [{ url: 'http://127.0.0.1:9', region: 'NA-WEST' }], { admin: { loopback_without_token: true }, region: { override: 'NA-WEST' } })
  await cache.reconciled
  const rows: Record<'idle' | 'tag' | 'prefix', Measured>[] = []
  for (let round = 0; round < ROUNDS; round++) {
    await fill(cache, round)
    const idle = await whileServing(viewerUrl, async () => { await delay(IDLE_MS) })
    const purged: number[] = []
    const tag = await whileServing(viewerUrl, async () => { purged.push((await purger.purge({ tag: 'news' })).purged) })
    for (let n = 0; n < KEPT + ENTRIES / PARTS; n++) if (cache.has({ cid: cidOf(n), part: 0 }) === isTagged(n)) throw new Error(`${cidOf(n)} after the purge by tag`)
    const prefix = await whileServing(viewerUrl, async () => { purged.push((await purger.purge({ prefix: 'video-' })).purged) })
    if (purged.reduce((sum, objects) => sum + objects) !== ENTRIES || cache.disk.count !== KEPT) throw new Error(`${purged.join(' and ')} objects purged, ${cache.disk.count} left`)
    if ((await cache.ids({ prefix: 'video-', after: '', limit: 1 })).length > 0) throw new Error('the index on disk has what was purged')
    const { statusCode } = await request(`${viewerUrl}/shards/video-${KEPT}/shard_0.bin`)
    if (statusCode < 500) throw new Error(`what was purged is answered ${statusCode}`)
    await cache.disk.flush()
    rows.push({ idle, tag, prefix })
  }
  line('what', 'objects', 'ms', 'loop delay p99, ms', 'most', 'hits meanwhile', 'slowest, ms')
  line('---', '---', '---', '---', '---', '---', '---')
  for (const what of ['idle', 'tag', 'prefix'] as const) {
    const of = (name: keyof Measured): number => median(rows.map(row => row[what][name]))
    line(what, what === 'idle' ? '0' : String(ENTRIES / 2), of('ms').toFixed(0), of('p99').toFixed(1), of('most').toFixed(1), of('hits').toFixed(0), of('slowest').toFixed(1))
  }
  line(`medians of ${ROUNDS}`)
})
