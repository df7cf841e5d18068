/**
 * What priorities are worth to a player that prefetches: `node --import tsx benchmarks/client-priorities.ts [rounds]`, medians of 7 by default.
 * A relay with 16 Mbit/s for its viewers; everything is in its cache. The client, over each transport in turn, reads 300 kB: alone; while 16 prefetches of 1 MiB
 * are under way that have the priority of everything else, as without priorities; and while the same are `background`.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { request } from 'undici'
import { connect } from '../client/src/node-files.ts'
import { TRANSPORTS } from '../client/src/transports.ts'
import type { ReadPriority } from '../client/src/priority-slots.ts'
import { withCleanup } from '../tools/harness/cleanup.ts'
import { metric, until } from '../tools/harness/http.ts'
import { PATIENT_UPSTREAM } from '../tools/harness/limits.ts'
import { median } from '../tools/harness/median.ts'
import { spawnRelay, spawnSuperNode } from '../tools/harness/processes.ts'

const ROUNDS = Number(process.argv[2] ?? 7)
const SHARD_BYTES = 4_000_000
const READ_BYTES = 300_000
const PREFETCHES = 16
const PREFETCH_BYTES = 1_048_576
const TOTAL_BPS = 16_000_000
/** How long the prefetches have been under way when the read comes. */
const LEAD_MS = 400

const isAbort = (error: unknown): void => { if (!(error instanceof Error && error.message === 'over')) throw error }

await withCleanup(async cleanup => {
  const node = await spawnSuperNode(cleanup, 'NA-WEST')
  const relay = await spawnRelay(cleanup, [node], { transport: { engine: 'quinn' }, bandwidth: { total_bps: TOTAL_BPS }, upstream: PATIENT_UPSTREAM, prefetch: { enabled: false } })
  const cid = `syn-${SHARD_BYTES}-priorities`
  // The super-node makes up its videos as they are asked for.
  await (await request(`${node.url}/shards/${cid}/manifest.json`)).body.dump()
  // Of every shard the first byte: the rest comes by itself.
  for (let shard = 0; shard < 10; shard++) await (await request(`${relay.viewerUrl}/shards/${cid}/shard_${shard}.bin`, { headers: { range: 'bytes=0-0' } })).body.dump()
  await until(async () => await metric(relay.adminUrl, 'icn_relay_cache_entries', '{tier="disk"}'), entries => entries >= 10)

  for (const transport of TRANSPORTS) {
    const times: Record<'alone' | ReadPriority, number[]> = { alone: [], urgent: [], normal: [], background: [] }
    for (let round = 0; round < ROUNDS; round++) {
      for (const ahead of ['alone', 'normal', 'background'] as const) {
        const client = await connect(relay.viewerUrl, { transports: [transport], cacheBytes: 64 * 1024 * 1024 })
        const file = await client.open(`icn://${cid}`)
        await file.bytes({ range: { start: 0, end: 1 } })
        const abort = new AbortController()
        const prefetches = ahead === 'alone'
          ? []
          : Array.from({ length: PREFETCHES }, async (_, index) => { await file.prefetch({ priority: ahead, signal: abort.signal, range: { start: 2_000_000 + index * PREFETCH_BYTES, end: 2_000_000 + (index + 1) * PREFETCH_BYTES } }).catch(isAbort) })
        await delay(LEAD_MS)
        const began = performance.now()
        await file.bytes({ range: { start: 36_000_000, end: 36_000_000 + READ_BYTES }, priority: ahead === 'normal' ? 'normal' : 'urgent' })
        times[ahead].push(performance.now() - began)
        abort.abort(new Error('over'))
        await Promise.all(prefetches)
        client.close()
        // What the relay granted and was not used is gone by then.
        await delay(300)
      }
    }
    const [alone, before, after] = [median(times.alone), median(times.normal), median(times.background)]
    console.log(`${transport}: ${READ_BYTES / 1000} kB alone ${alone.toFixed(0)} ms; behind ${PREFETCHES} prefetches without priorities ${before.toFixed(0)} ms (${(before / alone).toFixed(1)} times), ` +
      `in the background ${after.toFixed(0)} ms (${(after / alone).toFixed(2)} times)`)
  }
})
process.exit()
