/** An upstream without a relay around it, for tests of how super-nodes are asked. */
import type { TestContext } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { deferred } from '../../src/base/deferred.ts'
import { DEFAULT_FITNESS_POLICY, type FitnessPolicy } from '../../src/plugins/upstream/node-state.ts'
import { Upstream } from '../../src/plugins/upstream/upstream.ts'
import type { UpstreamOptions } from '../../src/plugins/upstream/upstream-types.ts'

/** A signal that does not abort, of its own for each fetch, as fills have. */
export function patient (): AbortSignal {
  return new AbortController().signal
}

export interface Setup {
  readonly upstream: Upstream
  readonly attempts: string[]
  readonly healthFailures: string[]
  /** Level, message and fields of each line. */
  readonly logs: string[]
  /** Resolves with the next message of the log that contains `text`. */
  logged (this: void, text: string): Promise<void>
}

/** One failure opens the circuit, and what is back is back immediately. */
export function fitness (initialMs: number, maxMs: number): FitnessPolicy {
  return { ...DEFAULT_FITNESS_POLICY, circuit: { ...DEFAULT_FITNESS_POLICY.circuit, failures: 1, initialMs, maxMs, rampMs: 0.001 } }
}

/** An upstream of these nodes that keeps count of what it reports. */
export function setUp (t: TestContext, superNodes: readonly { url: string, region: string }[], options: Partial<UpstreamOptions> = {}): Setup {
  const attempts: string[] = []
  const healthFailures: string[] = []
  const logs: string[] = []
  const waiting: { text: string, done: () => void }[] = []
  const announce = (message: string): void => {
    for (const waiter of waiting) if (message.includes(waiter.text)) waiter.done()
  }
  const upstream = new Upstream({
    region: () => '',
    shardPath: '/shards/{cid}/shard_{nn}.bin',
    manifestPath: '/shards/{cid}/manifest.json',
    connectionsPerNode: 4,
    connectTimeoutMs: 500,
    headersTimeoutMs: 250,
    bodyTimeoutMs: 300,
    leastBodyBps: 0,
    firstByteTimeoutMs: 3_000,
    hedge: { minMs: 20, maxMs: 150, budget: 0, burst: 20, maxParallel: 3 },
    fitness: fitness(60_000, 60_000),
    health: { intervalMs: 600_000, timeoutMs: 250 },
    negativeTtlMs: 0,
    clock: systemClock,
    random: () => 0.5,
    observer: {
      attempt: (node, outcome) => { attempts.push(`${new URL(superNodes.find(({ url }) => url.endsWith(node))?.url ?? 'http://x').port} ${outcome}`) },
      healthCheckFailed: node => {
        healthFailures.push(node)
        announce('health check failed')
      },
      hedged: outcome => { attempts.push(`hedge ${outcome}`) },
      resumed: outcome => { attempts.push(`resume ${outcome}`) },
      received: () => {},
      oddAnswer: (_node, oddity) => { attempts.push(`odd ${oddity}`) },
      nodeGone: () => {}
    },
    log: (level, message, fields) => {
      logs.push(`${level} ${message} ${JSON.stringify(fields)}`)
      announce(message)
    },
    ...options
  })
  t.after(async () => { await upstream.close() })
  upstream.nodes.set(superNodes)
  const logged = async (text: string): Promise<void> => {
    const { promise, resolve } = deferred<undefined>()
    waiting.push({ text, done: () => { resolve(undefined) } })
    await promise
  }
  return { upstream, attempts, healthFailures, logs, logged }
}
