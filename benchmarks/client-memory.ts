/**
 * What memory a client needs for a film: `node --expose-gc --import tsx benchmarks/client-memory.ts [bytes of a shard] [lost shards]`, ten shards of 7.5 MB and none by default.
 * Streams a file from a relay over HTTP, at most as fast as 40 MB/s, and samples after each 4 MB, when what is garbage has been collected, the heap of JavaScript and what buffers hold.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { request } from 'undici'
import { connect } from '../client/src/node-files.ts'
import { withCleanup } from '../tools/harness/cleanup.ts'
import { PATIENT_UPSTREAM } from '../tools/harness/limits.ts'
import { spawnRelay, spawnSuperNode } from '../tools/harness/processes.ts'

const SHARD_BYTES = Number(process.argv[2] ?? 7_500_000)
const LOST = Number(process.argv[3] ?? 0)
const SAMPLE_BYTES = 4_000_000
const MS_A_SAMPLE = 100

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1)

await withCleanup(async cleanup => {
  const node = await spawnSuperNode(cleanup, 'NA-WEST')
  const relay = await spawnRelay(cleanup, [node], { transport: { engine: 'off' }, upstream: { ...PATIENT_UPSTREAM, max_object_bytes: 67_108_864 }, prefetch: { enabled: false } })
  const cid = `syn-${SHARD_BYTES}-memory`
  await (await request(`${node.url}/shards/${cid}/manifest.json`)).body.dump()
  if (LOST > 0) await node.setFaults({ match: Array.from({ length: LOST }, (_, index) => `shard_0${index}.bin|shard_${index}.bin`).join('|'), notFound: true })
  const client = await connect(relay.viewerUrl, { transports: ['http'] })
  cleanup.after(() => { client.close() })
  let repaired: readonly number[] = []
  client.on('request', statistics => { repaired = statistics.repaired })
  const file = await client.open(`icn://${cid}`)
  globalThis.gc?.()
  const before = process.memoryUsage()
  const most = { heapUsed: 0, arrayBuffers: 0 }
  let bytes = 0
  let next = SAMPLE_BYTES
  const began = performance.now()
  for await (const chunk of file.stream()) {
    bytes += chunk.length
    if (bytes < next) continue
    next += SAMPLE_BYTES
    await delay(MS_A_SAMPLE)
    globalThis.gc?.()
    const now = process.memoryUsage()
    most.heapUsed = Math.max(most.heapUsed, now.heapUsed - before.heapUsed)
    most.arrayBuffers = Math.max(most.arrayBuffers, now.arrayBuffers - before.arrayBuffers)
  }
  console.log(`${megabytes(bytes)} MB in ${((performance.now() - began) / 1000).toFixed(1)} s, repaired shards ${repaired.join(', ') || 'none'}: at most ${megabytes(most.heapUsed)} MB of heap and ${megabytes(most.arrayBuffers)} MB of buffers more than before`)
})
process.exit()
