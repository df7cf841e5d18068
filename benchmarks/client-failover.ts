/**
 * What a viewer notices of a gateway that dies: `RELAY_PROGRAM=dist/start.cjs node --import tsx benchmarks/client-failover.ts [rounds]` after `npm run build`,
 * medians of 10 by default; from its sources a gateway takes seconds to start.
 * A client that is connected over WebTransport, everything in the cache of the relay. In each round it seeks, which is to read 300 kB somewhere: undisturbed; then the
 * gateway is killed (SIGKILL), and 300 ms later it seeks again; and once more, when it is back, it is killed while the client reads.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { request } from 'undici'
import { connect } from '../client/src/node-files.ts'
import { systemPlatform } from '../client/src/platform.ts'
import { withCleanup } from '../tools/harness/cleanup.ts'
import { gatewayPid } from '../tools/harness/gateway-process.ts'
import { metric, until } from '../tools/harness/http.ts'
import { PATIENT_UPSTREAM } from '../tools/harness/limits.ts'
import { median } from '../tools/harness/median.ts'
import { spawnRelay, spawnSuperNode } from '../tools/harness/processes.ts'

const ROUNDS = Number(process.argv[2] ?? 10)
const SHARD_BYTES = 2_000_000
const READ_BYTES = 300_000
const SEEK_AFTER_MS = 300

await withCleanup(async cleanup => {
  const node = await spawnSuperNode(cleanup, 'NA-WEST')
  const relay = await spawnRelay(cleanup, [node], { transport: { engine: 'quinn' }, upstream: PATIENT_UPSTREAM, prefetch: { enabled: false } })
  const cid = `syn-${SHARD_BYTES}-failover`
  await (await request(`${node.url}/shards/${cid}/manifest.json`)).body.dump()
  for (let shard = 0; shard < 10; shard++) await (await request(`${relay.viewerUrl}/shards/${cid}/shard_${shard}.bin`, { headers: { range: 'bytes=0-0' } })).body.dump()
  await until(async () => await metric(relay.adminUrl, 'icn_relay_cache_entries', '{tier="disk"}'), entries => entries >= 10)

  let failures = 0
  let at = 0
  const { memory: _shared, ...platform } = systemPlatform()
  /** Of a client that is connected over WebTransport, to a gateway that was started anew, however long that takes. */
  const seekAfter = async (before: () => Promise<unknown> = async () => {}, meanwhile: () => Promise<unknown> = async () => {}): Promise<number> => {
    const client = await until(async () => await connect(relay.viewerUrl, { platform }), ({ transport: { transport } }) => transport === 'webtransport')
    try {
      client.on('error', () => { failures++ })
      const file = await client.open(`icn://${cid}`)
      const seek = async (): Promise<number> => {
        at = (at + 7_654_321) % (file.size - READ_BYTES)
        const began = performance.now()
        await file.bytes({ range: { start: at, end: at + READ_BYTES }, priority: 'urgent' })
        return performance.now() - began
      }
      await seek()
      await before()
      const [time] = await Promise.all([seek(), meanwhile()])
      return time
    } finally {
      client.close()
    }
  }
  const kill = async (): Promise<void> => {
    const pid = await until(async () => await gatewayPid(relay.pid), found => found !== undefined)
    if (pid !== undefined) process.kill(pid, 'SIGKILL')
  }
  const times: Record<'quiet' | 'seek' | 'during', number[]> = { quiet: [], seek: [], during: [] }
  for (let round = 0; round < ROUNDS; round++) {
    times.quiet.push(await seekAfter())
    times.seek.push(await seekAfter(async () => {
      await kill()
      await delay(SEEK_AFTER_MS)
    }))
    times.during.push(await seekAfter(undefined, kill))
  }
  const of = (values: readonly number[]): string => `${median(values).toFixed(0)} ms (${Math.min(...values).toFixed(0)} to ${Math.max(...values).toFixed(0)})`
  console.log(`a seek of ${READ_BYTES / 1000} kB: undisturbed ${of(times.quiet)}, ${SEEK_AFTER_MS} ms after the gateway was killed ${of(times.seek)}, killed while it reads ${of(times.during)}; ${failures} errors in ${3 * ROUNDS} reads`)
})
process.exit()
