import type { BandwidthSignal } from './bandwidth-signal.ts'
import type { ReadPiece } from './piece-store.ts'
import type { ReadPriority } from './priority-slots.ts'
import type { TransportName } from './transports.ts'

/** What became of one read. Times are in milliseconds. */
export interface ReadStatistics {
  readonly uri: string
  /** `end` exclusive. */
  readonly range: { readonly start: number, readonly end: number }
  readonly priority: ReadPriority
  readonly outcome: 'done' | 'aborted' | 'failed'
  /** Of the last answer; undefined when nothing was fetched. */
  readonly transport: TransportName | undefined
  /** `memory` when nothing was fetched; `miss` when the relay had to fetch any of it. */
  readonly cache: 'memory' | 'hit' | 'miss' | 'unknown'
  /** Given to whoever reads. */
  readonly bytes: number
  /** That came from the relay for it: blocks at both ends, and what repairs take, are more than was asked for. */
  readonly fetchedBytes: number
  /** From the start until its first request went out, to the first bytes given, and to the end. */
  readonly queuedMs: number
  readonly firstByteMs: number
  readonly totalMs: number
  /** Shards that pieces of it were repaired of. */
  readonly repaired: readonly number[]
  /** Every byte given was compared with a hash of the manifest. */
  readonly verified: boolean
  /** Rate at which bytes came while they were waited for, bits per second; undefined when none did. */
  readonly bitsPerSecond: number | undefined
  /** What the relay said last of this viewer's bandwidth. */
  readonly bandwidth: BandwidthSignal | undefined
}

/** Adds up what becomes of one read. */
export class ReadTally {
  readonly #now: () => number
  readonly #startedAt: number
  readonly #repaired = new Set<number>()
  #transport: TransportName | undefined
  #cache: ReadStatistics['cache'] = 'memory'
  #bytes = 0
  #fetchedBytes = 0
  #queuedMs: number | undefined
  #firstByteMs: number | undefined
  #waitedMs = 0
  #verified = true

  /** @param now monotonic milliseconds */
  constructor (now: () => number) {
    this.#now = now
    this.#startedAt = now()
  }

  /** @param waitedMs how long whoever reads has waited for it */
  took (shard: number, { bytes, verified, repaired, answers }: ReadPiece, waitedMs: number): void {
    this.#firstByteMs ??= this.#now() - this.#startedAt
    this.#waitedMs += waitedMs
    this.#bytes += bytes.length
    this.#verified &&= verified
    if (repaired) this.#repaired.add(shard)
    for (const answer of answers) {
      this.#transport = answer.transport
      this.#fetchedBytes += answer.bytes
      this.#queuedMs ??= answer.timings.queuedMs
      if (this.#cache !== 'miss' && (answer.cache !== 'hit' || this.#cache === 'memory')) this.#cache = answer.cache
    }
  }

  end (of: Pick<ReadStatistics, 'uri' | 'range' | 'priority' | 'outcome' | 'bandwidth'>): ReadStatistics {
    const totalMs = this.#now() - this.#startedAt
    return {
      ...of,
      transport: this.#transport,
      cache: this.#cache,
      bytes: this.#bytes,
      fetchedBytes: this.#fetchedBytes,
      queuedMs: this.#queuedMs ?? 0,
      firstByteMs: this.#firstByteMs ?? totalMs,
      totalMs,
      repaired: [...this.#repaired].sort((a, b) => a - b),
      verified: this.#verified && this.#bytes > 0,
      bitsPerSecond: this.#fetchedBytes > 0 && this.#waitedMs > 0 ? this.#fetchedBytes * 8000 / this.#waitedMs : undefined
    }
  }
}
