/**
 * How soon a range of a shard that the relay does not have is at its viewer: `node --import tsx benchmarks/cold-ranges.ts [runs]`.
 * The super-node, in a process of its own, sends 1 MB/s; shards have 7.5 MB; each run asks for 1 MB from another place of another shard, over HTTP and over
 * WebTransport, with the shard verified by its blocks and, in turn, as a whole. Times of the first byte and of the whole MB, medians.
 */
import { performance } from 'node:perf_hooks'
import { request } from 'undici'
import { connect } from '../client/src/node.ts'
import { DEMO_PUBLIC_KEY } from '../demo/super-node/manifest.ts'
import { withCleanup } from '../tools/harness/cleanup.ts'
import { fetchClocked } from '../tools/harness/http.ts'
import { PATIENT_UPSTREAM } from '../tools/harness/limits.ts'
import { median } from '../tools/harness/median.ts'
import { spawnRelay, spawnSuperNode } from '../tools/harness/processes.ts'

const RUNS = Number(process.argv[2] ?? 3)
const SIZE = 7_500_000
const PART = 1_000_000
const PLACES = [0, 0.5, 0.9]
/** `digest` is the rule for shards whose blocks nobody knows: a range ends when the whole shard is right. */
const MODES = ['manifest', 'digest'] as const
const TRANSPORTS = ['http', 'webtransport'] as const
const WITHIN = { transport: { engine: 'quinn' }, trust: { publishers: [DEMO_PUBLIC_KEY], manifest_timeout_ms: 60_000 }, upstream: PATIENT_UPSTREAM }

interface Times { readonly firstMs: number, readonly wholeMs: number }

async function overHttp (url: string, start: number): Promise<Times> {
  const { status, bytes, firstMs, wholeMs } = await fetchClocked(url, { range: `bytes=${start}-${start + PART - 1}` })
  if (status !== 206 || bytes !== PART) throw new Error(`${url} gave ${status} and ${bytes} bytes`)
  return { firstMs, wholeMs }
}

await withCleanup(async cleanup => {
  const node = await spawnSuperNode(cleanup, 'NA-WEST')
  const relays = await Promise.all(MODES.map(async integrity => {
    const relay = await spawnRelay(cleanup, [node], { ...WITHIN, cache: { integrity } })
    const client = await connect(relay.viewerUrl, { transports: ['webtransport'], stallMs: 60_000 })
    cleanup.after(() => { client.close() })
    return { integrity, relay, client }
  }))
  const times = new Map<string, Times[]>()
  let video = 0
  for (let run = 0; run < RUNS; run++) {
    for (const place of PLACES) {
      for (const transport of TRANSPORTS) {
        for (const { integrity, relay, client } of run % 2 === 0 ? relays : relays.toReversed()) {
          // A player has the manifest of a video before it seeks: the first shard has brought it.
          const cid = `syn-${SIZE}-seek${video++}`
          await node.setFaults({})
          await overHttp(`${relay.viewerUrl}/shards/${cid}/shard_0.bin`, 0)
          // The super-node makes up its shards as they are asked for, and keeps them.
          await (await request(`${node.url}/shards/${cid}/shard_01.bin`)).body.dump({ limit: 2 * SIZE })
          await node.setFaults({ bytesPerSecond: 1_000_000 })
          const start = Math.min(Math.floor(place * SIZE), SIZE - PART)
          let result: Times
          if (transport === 'http') result = await overHttp(`${relay.viewerUrl}/shards/${cid}/shard_1.bin`, start)
          else {
            const began = performance.now()
            const { timings, bytes } = await client.fetchShard(cid, 1, { range: { start, end: start + PART } })
            if (bytes.length !== PART) throw new Error(`${bytes.length} bytes`)
            result = { firstMs: timings.firstByteMs, wholeMs: performance.now() - began }
          }
          const name = `${String(place * 100).padStart(3)} %  ${transport.padEnd(12)} ${integrity === 'manifest' ? 'by blocks' : 'as a whole'}`
          times.set(name, [...times.get(name) ?? [], result])
        }
      }
    }
  }
  for (const [name, all] of [...times].sort(([a], [b]) => a.localeCompare(b))) {
    console.log(`${name.padEnd(36)} first byte ${median(all.map(({ firstMs }) => firstMs)).toFixed(0).padStart(6)} ms, 1 MB ${median(all.map(({ wholeMs }) => wholeMs)).toFixed(0).padStart(6)} ms`)
  }
})
