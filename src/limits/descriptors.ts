/** Shares of the limit that viewers may not have: their connections leave this much, what is opened for their requests that much. */
const KEPT_FROM_CONNECTIONS = 1 / 4
const KEPT_FROM_REQUESTS = 1 / 8
/** Shares of a large limit need not be larger. */
const MOST_KEPT = 2_048
/** A count is good for so long, ms, and what was let in since is added to it. */
const FRESH_MS = 50

export interface DescriptorsOptions {
  /** Of this process; undefined when nobody knows, and then nothing is refused. */
  readonly limit: number | undefined
  /** How many are open now; undefined when nobody knows. */
  readonly count: () => number | undefined
  /** Monotonic, ms. */
  readonly now: () => number
}

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

  /** Of the limit; undefined when that is unknown. */
  get share (): number | undefined { return this.limit === undefined ? undefined : this.open / this.limit }

  /** Whether there is one for another connection of a viewer, which is counted when there is. */
  admitConnection (): boolean { return this.#admit(KEPT_FROM_CONNECTIONS) }

  /** Whether there is one for what a request opens, which is counted when there is. */
  admitRequest (): boolean { return this.#admit(KEPT_FROM_REQUESTS) }

  /** Whether none is left for an answer that says so. */
  get spent (): boolean { return !this.#leaves(KEPT_FROM_REQUESTS) }

  #leaves (share: number): boolean {
    return this.limit === undefined || this.open < this.limit - Math.min(MOST_KEPT, Math.ceil(this.limit * share))
  }

  #admit (share: number): boolean {
    if (!this.#leaves(share)) return false
    this.#since++
    return true
  }
}
