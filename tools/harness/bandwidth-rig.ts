/** What the bandwidth tests and the plot of them share: a relay with a budget, viewers in a process of their own, and what they received when. */
import type { Cleanup } from './cleanup.ts'
import { startSuperNode } from '../../demo/super-node/server.ts'
import { startChild } from './child.ts'
import type { JoinOrder, News, Order, ViewerTransport } from './bandwidth-viewers.ts'
import { fetchHashed } from './http.ts'
import { PATIENT_UPSTREAM } from './limits.ts'
import type { ManagedProcess } from './managed-process.ts'
import { spawnRelay, type SpawnedRelay } from './processes.ts'

/** So small that every viewer over HTTP begins a new response, and hears of its share, every two seconds or so. */
const SHARD_BYTES = 400_000
const CID = `syn-${SHARD_BYTES}-bandwidth`
const PATHS = Array.from({ length: 10 }, (_, part) => `/shards/${CID}/shard_${part}.bin`)

type Heard = Extract<News, { type: 'heard' }>
type Sample = Extract<News, { type: 'received' }>

/** Monotonic time of the machine, ms: the same in every process. */
export const machineNow = (): number => Number(process.hrtime.bigint() / 1_000n) / 1_000

/** A relay whose viewers share `totalBps`, with its objects in the cache. */
export async function spawnShared (t: Cleanup, totalBps: number, settings: Record<string, Record<string, unknown>> = {}): Promise<SpawnedRelay> {
  const origin = await startSuperNode({ port: 0 })
  t.after(async () => { await origin.close() })
  const relay = await spawnRelay(t, [origin], {
    ...settings,
    // The viewers burn the CPU of the relay's machine, and all come from a few addresses.
    limits: { handshakes_per_second: 1_000, handshakes_per_second_per_ip: 1_000, requests_per_second_per_viewer: 10_000, ...settings['limits'] },
    overload: { degraded_delay_ms: 10_000, shedding_delay_ms: 10_000, ...settings['overload'] },
    transport: { engine: 'quinn', max_sessions_per_ip: 1_000, ...settings['transport'] },
    upstream: { ...PATIENT_UPSTREAM, ...settings['upstream'] },
    bandwidth: { total_bps: totalBps, ...settings['bandwidth'] }
  })
  await Promise.all(PATHS.map(async path => await fetchHashed(relay.viewerUrl + path)))
  return relay
}

/** Viewers of one relay, by number, and all that is known of them. */
export class Crowd {
  readonly heard: Heard[] = []
  readonly failures: string[] = []
  readonly samples: Sample[] = []
  readonly joinedAt = new Map<number, number>()
  readonly #relay: SpawnedRelay
  readonly #child: ManagedProcess
  readonly #waiters = new Set<() => void>()

  constructor (t: Cleanup, relay: SpawnedRelay) {
    this.#relay = relay
    this.#child = startChild(t, 'tools/harness/bandwidth-viewers.ts')
    this.#child.child.on('message', message => { this.#hear(message as News) })
  }

  /** Resolves when all of them have begun. @throws Error when one could not */
  async join (transport: ViewerTransport, ids: readonly number[], streams = 1): Promise<void> {
    this.#order({ type: 'join', ids, transport, url: this.#relay.viewerUrl, paths: PATHS, streams } satisfies JoinOrder)
    await this.until(() => this.failures.length > 0 || ids.every(id => this.joinedAt.has(id)))
    if (!ids.every(id => this.joinedAt.has(id))) throw new Error(`viewers could not join: ${this.failures.slice(0, 3).join('; ')}`)
  }

  leave (ids: readonly number[]): void { this.#order({ type: 'leave', ids }) }

  /** Waits until something that is told has come true. */
  async until (done: () => boolean): Promise<void> {
    if (done()) return
    await new Promise<void>(resolve => {
      const look = (): void => {
        if (!done()) return
        this.#waiters.delete(look)
        resolve()
      }
      this.#waiters.add(look)
    })
  }

  /** Waits until the viewers have told of a moment `ms` after now; the moment. */
  async after (ms: number): Promise<number> {
    const at = machineNow() + ms
    await this.until(() => (this.samples.at(-1)?.at ?? 0) >= at)
    return at
  }

  /** Bits per second of a viewer between two moments, as the nearest samples have it. */
  rate (id: number, from: number, to: number): number {
    const [first, last] = [this.#sampleAt(from), this.#sampleAt(to)]
    return (bytesOf(last, id) - bytesOf(first, id)) * 8_000 / (last.at - first.at)
  }

  #sampleAt (at: number): Sample {
    const sample = this.samples.find(each => each.at >= at) ?? this.samples.at(-1)
    if (sample === undefined) throw new Error('nothing was received')
    return sample
  }

  #order (order: Order): void { this.#child.child.send(order) }

  #hear (news: News): void {
    if (news.type === 'heard') this.heard.push(news)
    else if (news.type === 'failed') this.failures.push(`viewer ${news.id}: ${news.reason}`)
    else if (news.type === 'joined') this.joinedAt.set(news.id, news.at)
    else this.samples.push(news)
    for (const look of this.#waiters) look()
  }
}

function bytesOf (sample: Sample, id: number): number {
  return sample.bytes.find(([each]) => each === id)?.[1] ?? 0
}

/** Numbers from `from` up to but not including `to`. */
export function range (from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index)
}
