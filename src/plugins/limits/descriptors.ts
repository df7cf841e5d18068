/**
 * Shares of the limit that are kept from viewers: from their connections, from those on which they are only told so, from what misses open, from what hits
 * open. Each leaves something to the next, so that whoever is connected is served whoever else comes, and the last is for the relay's own work.
 */
const KEPT_FROM = { connection: 5 / 16, refusal: 4 / 16, miss: 3 / 16, hit: 2 / 16 } as const
/** The largest share of a large limit need not be larger; the others are in proportion. */
const MOST_KEPT = 2_048
/** What a miss opens: a connection to a super-node and a file. */
const PER_MISS = 2
/** Longest wait of a hit for a descriptor, ms: then viewers think that nobody answers. */
const HIT_WAIT_MS = 500
/** A count is good for so long, ms, and what was let in since is added to it. */
const FRESH_MS = 50

export interface DescriptorsOptions {
  /** Of this process; undefined when nobody knows, and then nothing is refused. */
  readonly limit: number | undefined
  /** How many are open now; undefined when nobody knows. */
  readonly count: () => number | undefined
  /** Monotonic, ms. */
  readonly now: () => number
  readonly wait: (ms: number) => Promise<unknown>
}

type Use = keyof typeof KEPT_FROM

/** Descriptors as a resource that viewers share with the relay's own work, for which the last of them are kept. */
export class Descriptors {
  readonly limit: number | undefined
  readonly #options: DescriptorsOptions
  #counted = 0
  #since = 0
  #at = -Infinity

  constructor (options: DescriptorsOptions) {
    this.#options = options
    this.limit = options.limit
  }

  /** Open now: as counted a moment ago, with all that viewers were let in for since. */
  get open (): number {
    const now = this.#options.now()
    if (now - this.#at >= FRESH_MS) {
      this.#counted = this.#options.count() ?? 0
      this.#since = 0
      this.#at = now
    }
    return this.#counted + this.#since
  }

  /** Of all that viewers may have; undefined when that is unknown. */
  get share (): number | undefined { return this.limit === undefined ? undefined : this.open / this.#without('hit') }

  /** Whether there is one for another connection of a viewer, which is counted when there is. */
  admitConnection (): boolean { return this.#admit('connection', 1) }

  /** Whether there is one for a connection on which a viewer is told that there is none, which is counted when there is. */
  admitRefusal (): boolean { return this.#admit('refusal', 1) }

  /** Whether there are those of a miss, which are counted when there are. */
  admitMiss (): boolean { return this.#admit('miss', PER_MISS) }

  /** Whether there is one for a hit, now or before long; it is counted when there is. */
  admitHit (): boolean | Promise<boolean> { return this.#admit('hit', 1) || this.#waitForHit() }

  async #waitForHit (): Promise<boolean> {
    const until = this.#options.now() + HIT_WAIT_MS
    while (this.#options.now() < until) {
      // No news before the next count.
      await this.#options.wait(FRESH_MS)
      if (this.#admit('hit', 1)) return true
    }
    return false
  }

  /** How many there are without a share that is kept. */
  #without (use: Use): number {
    const { limit = Infinity } = this
    return limit - Math.ceil(KEPT_FROM[use] * Math.min(limit, MOST_KEPT / KEPT_FROM.connection))
  }

  #admit (use: Use, count: number): boolean {
    if (this.limit === undefined) return true
    if (this.open + count > this.#without(use)) return false
    this.#since += count
    return true
  }
}
