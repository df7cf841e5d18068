/**
 * What it costs whole misses that their blocks are verified one by one: `node --import tsx benchmarks/block-misses.ts [videos] [--old <directory>]`.
 * Shards of 8 MiB whose manifest is known, one miss after the other, from a relay that fills by blocks (`cache.integrity = "manifest"`) and, in turn, from one
 * that fills in order and hashes the whole (`"digest"`). CPU of the relay, first and last byte, medians over videos of 13 misses each. Then what one hash of a
 * piece of a body takes, which is how long hashing keeps the event loop at a time. `--old` names a built checkout, whose relays take their turns as well. Linux.
 */
import { createHash } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import { join, resolve } from 'node:path'
import { request } from 'undici'
import { DEMO_PUBLIC_KEY } from '../demo/super-node/manifest.ts'
import { withCleanup } from '../tools/harness/cleanup.ts'
import { cpuMs } from '../tools/harness/proc.ts'
import { fetchClocked, metric } from '../tools/harness/http.ts'
import { PATIENT_UPSTREAM } from '../tools/harness/limits.ts'
import { median } from '../tools/harness/median.ts'
import { quantile } from '../tools/harness/origins.ts'
import { spawnRelay, spawnSuperNode } from '../tools/harness/processes.ts'
import { line } from './contender.ts'

const VIDEOS = /^\d+$/.test(process.argv[2] ?? '') ? Number(process.argv[2]) : 12
const OLD = process.argv.includes('--old') ? process.argv[process.argv.indexOf('--old') + 1] : undefined
const VERSIONS = [{ version: 'now', directory: '.' }, ...OLD === undefined ? [] : [{ version: 'before', directory: OLD }]]
const SIZE = 8 * 1024 * 1024
const MODES = ['manifest', 'digest'] as const
/** Pieces in which bodies come, bytes. */
const PIECE = 64 * 1024

interface Video { readonly cpuPerMb: number, readonly firstMs: number, readonly lastMs: number }

async function miss (url: string): Promise<{ firstMs: number, lastMs: number }> {
  const { status, headers, bytes, firstMs, wholeMs } = await fetchClocked(url)
  if (status !== 200 || bytes !== SIZE || String(headers['cache-status']).includes('; hit')) throw new Error(`${url}: ${status}, ${bytes} bytes, ${String(headers['cache-status'])}`)
  return { firstMs, lastMs: wholeMs }
}

await withCleanup(async cleanup => {
  const node = await spawnSuperNode(cleanup, 'NA-WEST')
  const relays = await Promise.all(VERSIONS.flatMap(({ version, directory }) => MODES.map(async integrity => ({
    version,
    integrity,
    videos: [] as Video[],
    relay: await spawnRelay(cleanup, [node], { transport: { engine: 'off' }, trust: { publishers: [DEMO_PUBLIC_KEY], manifest_timeout_ms: 60_000 }, upstream: PATIENT_UPSTREAM, cache: { integrity, ram_bytes: 0 }, ...version === 'now' ? { prefetch: { enabled: false } } : {} }, undefined, { program: join(resolve(directory), 'dist/start.cjs') })
  }))))
  for (let video = -1; video < VIDEOS; video++) {
    // The super-node makes up its shards as they are asked for, and keeps them.
    const cid = `syn-${SIZE}-miss${video + 1}`
    for (let part = 0; part < 14; part++) await (await request(`${node.url}/shards/${cid}/shard_${part}.bin`)).body.dump({ limit: 2 * SIZE })
    for (const { relay, videos } of video % 2 === 0 ? relays : relays.toReversed()) {
      await (await request(`${relay.viewerUrl}/shards/${cid}/manifest.json`)).body.dump()
      await miss(`${relay.viewerUrl}/shards/${cid}/shard_13.bin`)
      const before = await cpuMs(relay.pid)
      const times = []
      for (let part = 0; part < 13; part++) times.push(await miss(`${relay.viewerUrl}/shards/${cid}/shard_${part}.bin`))
      while (await metric(relay.adminUrl, 'icn_relay_fills') > 0);
      const cpuPerMb = (await cpuMs(relay.pid) - before) / (13 * SIZE / 1e6)
      if (video >= 0) videos.push({ cpuPerMb, firstMs: median(times.map(({ firstMs }) => firstMs)), lastMs: median(times.map(({ lastMs }) => lastMs)) })
    }
  }
  line('version', 'cache.integrity', 'CPU ms per MB', 'first byte, ms', 'last byte, ms')
  line('---', '---', '---', '---', '---')
  const show = (version: string, integrity: string, of: (name: keyof Video) => number): void => { line(version, integrity, of('cpuPerMb').toFixed(2), of('firstMs').toFixed(1), of('lastMs').toFixed(1)) }
  for (const { version, integrity, videos } of relays) show(version, integrity, name => median(videos.map(video => video[name])))
  // Of each video for itself: what else the machine does changes from one to the next.
  const ratio = (one: number, other: number): ((name: keyof Video) => number) => name => median((relays[one]?.videos ?? []).map((video, at) => video[name] / (relays[other]?.videos[at]?.[name] ?? NaN)))
  show('now', 'manifest to digest', ratio(0, 1))
  if (OLD !== undefined) for (const [at, integrity] of MODES.entries()) show('now to before', integrity, ratio(at, at + MODES.length))
})

const piece = Buffer.alloc(PIECE, 7)
const hash = createHash('sha256')
const times = Array.from({ length: 5_000 }, () => {
  const began = performance.now()
  hash.update(piece)
  return performance.now() - began
})
console.log(`\nSHA-256 of ${PIECE / 1024} KiB: median ${(median(times) * 1_000).toFixed(0)} µs, p99 ${(quantile(times, 0.99) * 1_000).toFixed(0)} µs`)
