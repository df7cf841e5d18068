import { setTimeout as sleep } from 'node:timers/promises'
import { ShardClientError } from '../../client/src/client-error.ts'
import type { ShardClient } from '../../client/src/shard-client.ts'
import { parseShardPath } from '../../src/protocol/shard-key.ts'
import { TimeHistogram } from '../histogram.ts'
import type { RequestShape } from '../request-mix.ts'
import type { LoadOrder, LoadOutcome } from './orders.ts'

export interface Viewer {
  readonly client: ShardClient
  /** Number of the viewer among those of all processes. */
  readonly slot: number
  /** Connections made so far. */
  readonly connections: () => number
}

const MAX_ERROR_TEXTS = 5

/** Waits until a time of `performance.now()`; immediately when it is past. */
export async function pause (until: number): Promise<void> {
  const ms = until - performance.now()
  if (ms > 0) await sleep(ms)
}

/** What the viewers of one process measure together. */
export class Tally {
  readonly #expectedBytes: number
  readonly #latency = new TimeHistogram()
  readonly #firstByte = new TimeHistogram()
  readonly #startup = new TimeHistogram()
  readonly #statuses: Record<string, number> = {}
  readonly #texts = new Set<string>()
  #requests = 0
  #unexpected = 0
  #errors = 0
  #bytes = 0
  #stalls = 0
  #stalledMs = 0
  #viewersStalled = 0
  #playedMs = 0

  constructor ({ bytes }: Pick<LoadOrder, 'bytes'>) {
    this.#expectedBytes = bytes
  }

  /** Fetches one object; latency counts from `due`. @returns whether it came whole */
  async fetch (client: ShardClient, shape: RequestShape, due: number): Promise<boolean> {
    const { cid, part } = parseShardPath(shape.path)
    if (part === 'manifest') throw new RangeError('viewers fetch shards, not manifests')
    const sent = performance.now()
    try {
      const { bytes, status, timings } = await client.fetchShard(cid, part, { verify: false })
      this.#latency.record(Math.max(0, performance.now() - due))
      this.#firstByte.record(Math.max(0, sent + timings.queuedMs + timings.firstByteMs - due))
      this.#answer(status)
      this.#bytes += bytes.length
      if (status !== 200 || bytes.length !== this.#expectedBytes) this.#unexpected++
      return true
    } catch (error) {
      if (error instanceof ShardClientError && error.status !== undefined) {
        this.#answer(error.status)
        this.#unexpected++
      } else {
        this.#errors++
      }
      this.say(String(error))
      return false
    }
  }

  /** Requests that were never sent. */
  gaveUp (count: number): void {
    if (count === 0) return
    this.#errors += count
    this.say('requests were still waiting for their turn when the run was given up')
  }

  played (ms: number, startupMs: number | undefined, stalls: number, stalledMs: number): void {
    this.#playedMs += ms
    if (startupMs !== undefined) this.#startup.record(startupMs)
    this.#stalls += stalls
    this.#stalledMs += stalledMs
    if (stalls > 0) this.#viewersStalled++
  }

  say (text: string): void {
    if (this.#texts.size < MAX_ERROR_TEXTS) this.#texts.add(text)
  }

  outcome (): Omit<LoadOutcome, 'seconds' | 'lost' | 'cpuMs' | 'loopDelayP99Ms'> {
    return {
      requests: this.#requests,
      statuses: this.#statuses,
      unexpected: this.#unexpected,
      errors: this.#errors,
      errorTexts: [...this.#texts],
      bytes: this.#bytes,
      latency: this.#latency.encode(),
      firstByte: this.#firstByte.encode(),
      startup: this.#startup.encode(),
      stalls: this.#stalls,
      stalledMs: this.#stalledMs,
      viewersStalled: this.#viewersStalled,
      playedMs: this.#playedMs
    }
  }

  #answer (status: number): void {
    this.#requests++
    this.#statuses[status] = (this.#statuses[status] ?? 0) + 1
  }
}
