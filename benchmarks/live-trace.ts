/*
 * Whether the relay hits what the simulator says: `node --import tsx benchmarks/live-trace.ts [policy] [requests]` replays the Zipf trace of `cache:simulate`, with
 * objects a thousandth as large, over HTTP against a relay in a process of its own and a super-node, one request after the other, and ends with 1 when the hit
 * ratios differ by more than a point.
 */
import { request, Agent } from 'undici'
import { startSuperNode } from '../demo/super-node/server.ts'
import { EVICTION_POLICIES } from '../src/storage/orders/orders.ts'
import { generate } from '../tools/cache-simulate/generators.ts'
import { byteRatio, percent, requestRatio, size } from '../tools/cache-simulate/table.ts'
import { replay, type Outcome } from '../tools/cache-simulate/replay.ts'
import { footprintOf } from '../tools/cache-simulate/trace.ts'
import { withCleanup } from '../tools/harness/cleanup.ts'
import { PATIENT_UPSTREAM } from '../tools/harness/limits.ts'
import { spawnRelay } from '../tools/harness/processes.ts'

const ALPHA = 1.2
const OBJECTS = 1_000
const MOST_BYTES = 10_000
/** Of the footprint. */
const CAPACITY = 0.2
/** Points of percent by which the two may differ. */
const TOLERANCE = 1

const [policyName = 's3-fifo', count = '10000'] = process.argv.slice(2)
const policy = EVICTION_POLICIES.find(name => name === policyName)
if (policy === undefined) throw new Error(`${policyName} is none of ${EVICTION_POLICIES.join(', ')}`)

const trace = generate('zipf', { requests: Number(count), objects: OBJECTS, alpha: ALPHA, seed: 1, bytes: [1_000, MOST_BYTES] })
const capacity = Math.round(footprintOf(trace) * CAPACITY)
const simulated = replay(trace, policy, capacity)

const live = await withCleanup(async (cleanup): Promise<Outcome> => {
  const origin = await startSuperNode()
  cleanup.after(async () => { await origin.close() })
  const relay = await spawnRelay(cleanup, [origin], { cache: { eviction: policy, max_bytes: capacity, ram_bytes: 0, min_free_bytes: 0 }, upstream: { ...PATIENT_UPSTREAM, max_object_bytes: MOST_BYTES } })
  const agent = new Agent({ connections: 1 })
  cleanup.after(async () => { await agent.destroy() })
  let [hits, bytes, hitBytes] = [0, 0, 0]
  for (const object of trace.requests) {
    const length = trace.sizes[object] ?? 0
    const { statusCode, headers, body } = await request(`${relay.viewerUrl}/shards/syn-${length}-trace${object}/shard_0.bin`, { dispatcher: agent })
    const came = (await body.arrayBuffer()).byteLength
    if (statusCode !== 200 || came !== length) throw new Error(`object ${object}: ${statusCode}, ${came} bytes of ${length}`)
    bytes += length
    if (headers['cache-status'] !== 'icn-relay; hit') continue
    hits++
    hitBytes += length
  }
  return { requests: trace.requests.length, hits, bytes, hitBytes }
})

console.log(`${policy}, Zipf ${ALPHA}, ${trace.requests.length} requests for ${trace.sizes.length} objects, cache of ${size(capacity)} (${CAPACITY * 100} % of the footprint)\n`)
console.log('| hit ratio, percent | requests | bytes |\n| --- | --- | --- |')
for (const [name, outcome] of [['simulator', simulated], ['live relay', live]] as const) console.log(`| ${name} | ${percent(requestRatio(outcome))} | ${percent(byteRatio(outcome))} |`)
process.exitCode = Math.abs(requestRatio(live) - requestRatio(simulated)) * 100 > TOLERANCE ? 1 : 0
