/** Samples kept per node: enough for a 95th percentile, and sorting them takes microseconds. */
export const LATENCY_SAMPLES = 128

/** Weight of a new sample in the smoothed latency: about the last ten answers count. */
const EWMA_WEIGHT = 0.2

export interface LatencyPolicy {
  /** Samples older than this do not count in percentiles, ms. */
  readonly maxAgeMs: number
  /** Samples below which a percentile is undefined. */
  readonly minSamples: number
}

export const DEFAULT_LATENCY_POLICY: LatencyPolicy = {
  // A network path that was slow a minute ago is not a reason to hedge now.
  maxAgeMs: 60_000,
  minSamples: 10
}

/** Times from request to response head of one node, ms, the last {@link LATENCY_SAMPLES} of them. Adding is O(1). */
export class LatencyEstimator {
  readonly #policy: LatencyPolicy
  readonly #values = new Float64Array(LATENCY_SAMPLES)
  readonly #times = new Float64Array(LATENCY_SAMPLES)
  #oldest = 0
  #count = 0
  #ewma: number | undefined
  #lastAt: number | undefined
  /** Undefined after a change; sorting waits until somebody asks. */
  #sorted: Float64Array | undefined

  constructor (policy: LatencyPolicy = DEFAULT_LATENCY_POLICY) {
    this.#policy = policy
  }

  /** Smoothed latency, ms; undefined before the first sample. It does not age: an old hint is better than none. */
  get ewma (): number | undefined { return this.#ewma }

  /** Takes a sample of `ms`; a number that is not a duration is ignored. `now` must not go back. */
  add (ms: number, now: number): void {
    if (!Number.isFinite(ms) || ms < 0) return
    this.#ewma = this.#ewma === undefined ? ms : this.#ewma + EWMA_WEIGHT * (ms - this.#ewma)
    this.#lastAt = now
    const slot = (this.#oldest + this.#count) % LATENCY_SAMPLES
    this.#values[slot] = ms
    this.#times[slot] = now
    if (this.#count < LATENCY_SAMPLES) this.#count++
    else this.#oldest = (this.#oldest + 1) % LATENCY_SAMPLES
    this.#sorted = undefined
  }

  /** Samples that count now. */
  size (now: number): number {
    this.#expire(now)
    return this.#count
  }

  /** Whether the smoothed latency rests on samples that are all too old. */
  isStale (now: number): boolean {
    return this.#lastAt !== undefined && now - this.#lastAt > this.#policy.maxAgeMs
  }

  /** Median, ms; undefined with too few samples. */
  p50 (now: number): number | undefined { return this.#percentile(50, now) }

  /** 95th percentile, ms; undefined with too few samples. */
  p95 (now: number): number | undefined { return this.#percentile(95, now) }

  /** Forgets the samples and keeps the smoothed latency. */
  clear (): void {
    this.#count = 0
  }

  /** Nearest rank: the smallest sample that `percent` of the samples do not exceed. */
  #percentile (percent: number, now: number): number | undefined {
    this.#expire(now)
    if (this.#count === 0 || this.#count < this.#policy.minSamples) return undefined
    this.#sorted ??= this.#sort()
    return this.#sorted[Math.ceil(this.#count * percent / 100) - 1]
  }

  #sort (): Float64Array {
    const sorted = new Float64Array(this.#count)
    for (let n = 0; n < this.#count; n++) sorted[n] = this.#values[(this.#oldest + n) % LATENCY_SAMPLES] ?? 0
    return sorted.sort()
  }

  #expire (now: number): void {
    while (this.#count > 0 && now - (this.#times[this.#oldest] ?? 0) > this.#policy.maxAgeMs) {
      this.#oldest = (this.#oldest + 1) % LATENCY_SAMPLES
      this.#count--
      this.#sorted = undefined
    }
  }
}
