/**
 * What prefetching is worth to a player on a cold relay: `node --import tsx benchmarks/prefetch.ts [rounds]`, medians of 10 by default.
 * The super-node, in a process of its own, answers after 60 ms and sends 2 MB/s on a connection: what a window of 128 KiB gives on such a path. The player has
 * `ShardClient` over WebTransport and plays videos of ten data shards of 1 MB, 450 ms each, so that a shard takes longer to come than to play. It asks for a
 * shard when the one before begins to play. Each round plays a new video on a relay with prefetching and on one without, in turn.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { request } from 'undici'
import { connect, type ShardClient } from '../client/src/node.ts'
import { DEMO_PUBLIC_KEY } from '../demo/super-node/manifest.ts'
import { DATA_SHARDS } from '../src/protocol/shard-key.ts'
import { withCleanup } from '../tools/harness/cleanup.ts'
import { metric } from '../tools/harness/http.ts'
import { PATIENT_UPSTREAM } from '../tools/harness/limits.ts'
import { median } from '../tools/harness/median.ts'
import { spawnRelay, spawnSuperNode } from '../tools/harness/processes.ts'

const ROUNDS = Number(process.argv[2] ?? 10)
const SHARD_BYTES = 1_000_000
const SHARD_MS = 450
const FAULTS = { latencyMs: 60, bytesPerSecond: 2_000_000 }

interface View {
  /** From asking for the manifest until the first shard is there, ms. */
  readonly startMs: number
  readonly stalls: number
  readonly stalledMs: number
  /** Hits among the second half of the data shards. */
  readonly hits: number
  /** Of a shard of the second half, from its request to its verified end, ms. */
  readonly shardMs: number
}

async function play (client: ShardClient, cid: string): Promise<View> {
  const began = performance.now()
  await client.fetchManifest(cid)
  let [startMs, stalls, stalledMs, hits, playedAt] = [0, 0, 0, 0, 0]
  const late: number[] = []
  for (let part = 0; part < DATA_SHARDS; part++) {
    const asked = performance.now()
    const { cache } = await client.fetchShard(cid, part)
    const now = performance.now()
    if (part === 0) startMs = now - began
    else if (now > playedAt) {
      stalls++
      stalledMs += now - playedAt
    }
    if (part >= DATA_SHARDS / 2) {
      late.push(now - asked)
      if (cache === 'hit') hits++
    }
    // The next one is asked for when this one begins to play.
    const startsAt = Math.max(now, playedAt)
    playedAt = startsAt + SHARD_MS
    await delay(startsAt - now)
  }
  return { startMs, stalls, stalledMs, hits, shardMs: median(late) }
}

await withCleanup(async cleanup => {
  const node = await spawnSuperNode(cleanup, 'NA-WEST')
  const relays = await Promise.all([true, false].map(async enabled => {
    const relay = await spawnRelay(cleanup, [node], {
      prefetch: { enabled },
      transport: { engine: 'quinn' },
      cache: { integrity: 'manifest' },
      trust: { publishers: [DEMO_PUBLIC_KEY] },
      upstream: PATIENT_UPSTREAM
    })
    const client = await connect(relay.viewerUrl, { transports: ['webtransport'] })
    cleanup.after(() => { client.close() })
    return { enabled, relay, client, views: [] as View[] }
  }))
  for (let round = 0; round < ROUNDS; round++) {
    for (const { enabled, client, views } of round % 2 === 0 ? relays : relays.toReversed()) {
      const cid = `syn-${SHARD_BYTES}-${enabled ? 'ahead' : 'plain'}${round}`
      // The super-node makes up its videos as they are asked for, and keeps them.
      await node.setFaults({})
      await (await request(`${node.url}/shards/${cid}/manifest.json`)).body.dump()
      await node.setFaults(FAULTS)
      views.push(await play(client, cid))
    }
  }
  for (const { enabled, relay, views } of relays) {
    const of = (value: (view: View) => number): string => median(views.map(value)).toFixed(0)
    console.log(`${enabled ? 'with   ' : 'without'} prefetching: play after ${of(view => view.startMs)} ms, ${of(view => view.stalls)} stalls of ${of(view => view.stalledMs)} ms in all, ` +
      `hits in the second half ${of(view => view.hits)} of ${DATA_SHARDS / 2}, a shard of it in ${of(view => view.shardMs)} ms`)
    if (!enabled) continue
    const [brought, used, wasted] = await Promise.all((['bytes', 'used_bytes', 'wasted_bytes'] as const).map(async name => await metric(relay.adminUrl, `icn_relay_prefetch_${name}_total`, '{source="order"}')))
    console.log(`        brought in ahead ${brought ?? 0} bytes, used ${used ?? 0}, wasted ${wasted ?? 0}`)
  }
})
