/**
 * What integrity by manifest is worth and costs, on loopback:
 *   node --import tsx benchmarks/integrity.ts [bodies] [misses]
 * 1. One of three super-nodes lies and is the fastest, then two: how 1,000 bodies end, with and without digests and signatures.
 * 2. First byte and last byte of misses, each of another CID so that each asks for a manifest, with `cache.integrity` "manifest" and "digest" in turn. Relay and
 *    client share this process, super-nodes have one of their own.
 */
import { withCleanup } from '../tools/harness/cleanup.ts'
import { fetchClocked } from '../tools/harness/http.ts'
import { startLiarLab, viewersTrial } from '../tools/harness/liar-trial.ts'
import { makePublisher } from '../tools/harness/manifests.ts'
import { quantile } from '../tools/harness/origins.ts'
import { startRelay } from '../tools/harness/relay.ts'
import { startChild } from '../tools/harness/child.ts'
import type { OriginsReady } from './integrity-origins.ts'

const BODIES = Number(process.argv[2] ?? 1_000)
const MISSES = Number(process.argv[3] ?? 1_000)
/** Misses before those that count. */
const WARM_UP = 50

async function liars (): Promise<void> {
  const cases = [
    { liars: 1, digest: true, signed: true }, { liars: 1, digest: false, signed: true }, { liars: 1, digest: true, signed: false },
    { liars: 1, digest: false, signed: false }, { liars: 2, digest: true, signed: true }, { liars: 2, digest: true, signed: false }
  ]
  for (const { liars: count, digest, signed } of cases) {
    await withCleanup(async cleanup => {
      const lab = await startLiarLab(cleanup, { liars: count, digest, publisher: signed ? makePublisher() : undefined, forger: signed ? makePublisher() : undefined })
      const { right, wrong, broken } = await viewersTrial(lab, Array.from({ length: BODIES }, (_, n) => `QmBody${n}`))
      console.log(`${count} of 3 lie, ${digest ? 'with' : 'without'} repr-digest, ${signed ? 'signed' : 'quorum of 2'}: ${wrong} of ${BODIES} wrong bodies ended cleanly; ${right} right, ${broken} reset and asked for again`)
    })
  }
}

interface Times { readonly firstMs: number, readonly wholeMs: number }

async function timeOf (url: string): Promise<Times> {
  const { status, bytes, firstMs, wholeMs } = await fetchClocked(url)
  if (status !== 200 || bytes === 0) throw new Error(`${url} gave ${status}`)
  return { firstMs, wholeMs }
}

async function cost (): Promise<void> {
  await withCleanup(async cleanup => {
    const { publisher, superNodes } = await startChild(cleanup, 'benchmarks/integrity-origins.ts', { args: [String(MISSES + WARM_UP)] }).answer<OriginsReady>()
    const relays = await Promise.all((['manifest', 'digest'] as const).map(async integrity => ({
      integrity, times: [] as Times[], relay: await startRelay(cleanup, superNodes, { cache: { integrity, max_bytes: 4_000_000_000 }, trust: { publishers: [publisher] }, region: { override: 'NA-WEST' } })
    })))
    for (let n = -WARM_UP; n < MISSES; n++) {
      for (const { times, relay } of n % 2 === 0 ? relays : relays.toReversed()) {
        const time = await timeOf(`${relay.viewerUrl}/shards/QmMiss${n + WARM_UP}/shard_0.bin`)
        if (n >= 0) times.push(time)
      }
    }
    const [on, off] = relays.map(({ integrity, times }) => {
      const p50 = { first: quantile(times.map(({ firstMs }) => firstMs), 0.5), whole: quantile(times.map(({ wholeMs }) => wholeMs), 0.5) }
      console.log(`${integrity}: ${MISSES} misses of 1 MiB: first byte p50 ${p50.first.toFixed(2)} ms, last byte p50 ${p50.whole.toFixed(2)} ms`)
      return p50
    })
    if (on !== undefined && off !== undefined) console.log(`manifest to digest: first byte ${(on.first / off.first).toFixed(3)}, last byte ${(on.whole / off.whole).toFixed(3)}`)
  })
}

if (BODIES > 0) await liars()
if (MISSES > 0) await cost()
