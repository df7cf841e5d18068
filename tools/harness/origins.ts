/** What tests and the benchmark of failing origins share: real super-node processes, a real relay process, bodies hashed as they come. */
import { createHash } from 'node:crypto'
import type { TestContext } from 'node:test'
import { request, type Dispatcher } from 'undici'
import { syntheticShard } from '../../demo/super-node/server.ts'
import { sha256 } from './http.ts'
import { spawnSuperNode, type SpawnedNode } from './processes.ts'

export interface Timed {
  readonly status: number
  /** Milliseconds from the request. */
  readonly firstByteMs: number
  readonly totalMs: number
  readonly right: boolean
}

/** Asks a relay for shard 0 of a synthetic CID; `right` is whether the body came whole with the right digest. */
export async function fetchTimed (viewerUrl: string, cid: string, dispatcher?: Dispatcher, onBytes?: (bytes: number) => void): Promise<Timed> {
  const start = performance.now()
  const response = await request(`${viewerUrl}/shards/${cid}/shard_0.bin`, { headersTimeout: 60_000, bodyTimeout: 60_000, ...(dispatcher === undefined ? {} : { dispatcher }) })
  const hash = createHash('sha256')
  let firstByteMs = NaN
  let bytes = 0
  try {
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      if (bytes === 0) firstByteMs = performance.now() - start
      hash.update(chunk)
      bytes += chunk.length
      onBytes?.(bytes)
    }
  } catch {
    return { status: response.statusCode, firstByteMs, totalMs: performance.now() - start, right: false }
  }
  const right = response.statusCode === 200 && hash.digest('hex') === sha256(syntheticShard(cid, 0))
  return { status: response.statusCode, firstByteMs, totalMs: performance.now() - start, right }
}

/**
 * The nearest super-node is killed with SIGKILL in the middle of a body that another node has as well.
 * @returns the transfer, and the longest pause between two pieces of it from the kill on, ms
 */
export async function killMidBody (viewerUrl: string, nearest: SpawnedNode, cid: string, dispatcher?: Dispatcher): Promise<Timed & { pauseMs: number, killedAtByte: number }> {
  let killedAtByte = 0
  let pauseMs = 0
  let last = 0
  const timed = await fetchTimed(viewerUrl, cid, dispatcher, bytes => {
    const now = performance.now()
    if (killedAtByte > 0) pauseMs = Math.max(pauseMs, now - last)
    last = now
    if (killedAtByte > 0 || bytes < 1_000_000) return
    killedAtByte = bytes
    nearest.child.kill('SIGKILL')
  })
  return { ...timed, pauseMs, killedAtByte }
}

/** Three super-nodes, the first in the relay's own region, the others ever farther. */
export async function spawnThree (t: Pick<TestContext, 'after'>, latenciesMs: readonly [number, number, number]): Promise<[SpawnedNode, SpawnedNode, SpawnedNode]> {
  const [near, middle, far] = latenciesMs
  return await Promise.all([
    spawnSuperNode(t, 'NA-WEST', { latencyMs: near }), spawnSuperNode(t, 'EU-WEST', { latencyMs: middle }), spawnSuperNode(t, 'APAC', { latencyMs: far })
  ])
}

/** The value below which `share` of the values lie. */
export function quantile (values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN
}
