/** Over how long a rate is taken, ms: long enough for shards that come one by one. */
const WINDOW_MS = 30_000
/** What a rate is taken of at least, ms. */
const LEAST_MS = 1_000

interface Second {
  readonly at: number
  bytes: number
  objects: number
}

/** How fast a job goes, of late. Times are monotonic, ms. */
export class WarmRate {
  /** Seconds in which something came, the oldest first; at most one for each second of the window, and one more. */
  readonly #seconds: Second[] = []
  readonly #since: number

  /** @param now when the job began, or went on */
  constructor (now: number) {
    this.#since = now
  }

  add (bytes: number, now: number): void {
    this.#forget(now)
    const at = Math.floor(now / 1_000) * 1_000
    const last = this.#seconds.at(-1)
    if (last?.at === at) {
      last.bytes += bytes
      last.objects++
    } else {
      this.#seconds.push({ at, bytes, objects: 1 })
    }
  }

  /** Per second. */
  read (now: number): { readonly bytes: number, readonly objects: number } {
    this.#forget(now)
    const seconds = Math.max(LEAST_MS, Math.min(WINDOW_MS, now - this.#since)) / 1_000
    const sum = (of: 'bytes' | 'objects'): number => this.#seconds.reduce((total, second) => total + second[of], 0) / seconds
    return { bytes: sum('bytes'), objects: sum('objects') }
  }

  #forget (now: number): void {
    while (this.#seconds[0] !== undefined && this.#seconds[0].at <= now - WINDOW_MS) this.#seconds.shift()
  }
}
