/** HDR histograms of times: three significant digits from a microsecond to an hour, merged without loss across processes. */
import { build, decodeFromCompressedBase64, encodeIntoCompressedBase64, type Histogram } from 'hdr-histogram-js'
import type { Times } from './result.ts'

/** One hour: what takes longer counts as that. */
const MAX_US = 3_600_000_000

/** Times of one kind, recorded in milliseconds. */
export class TimeHistogram {
  // 64 bits (doubles), so that hours of samples do not wrap a bucket around.
  readonly #histogram: Histogram

  constructor () {
    this.#histogram = build({ lowestDiscernibleValue: 1, highestTrackableValue: MAX_US, numberOfSignificantValueDigits: 3, bitBucketSize: 64, autoResize: false })
  }

  get count (): number { return this.#histogram.totalCount }

  /** @param ms at least 0; fractions of a microsecond are rounded @throws RangeError for what is not a time */
  record (ms: number): void {
    if (!(ms >= 0)) throw new RangeError(`${ms} is not a time`)
    this.#histogram.recordValue(Math.min(MAX_US, Math.max(1, Math.round(ms * 1_000))))
  }

  /** Adds every sample of another process. @throws Error when `text` is not a histogram */
  merge (text: string): void {
    this.#histogram.add(decodeFromCompressedBase64(text))
  }

  /** Text for {@link merge}. */
  encode (): string {
    return encodeIntoCompressedBase64(this.#histogram)
  }

  /** @param share 0 to 1 @returns milliseconds; 0 when empty */
  quantile (share: number): number {
    return this.count === 0 ? 0 : this.#histogram.getValueAtPercentile(share * 100) / 1_000
  }

  times (): Times {
    return {
      count: this.count,
      mean: this.count === 0 ? 0 : this.#histogram.mean / 1_000,
      p50: this.quantile(0.5),
      p95: this.quantile(0.95),
      p99: this.quantile(0.99),
      p999: this.quantile(0.999),
      max: this.quantile(1)
    }
  }
}

/** One histogram of what several processes recorded. @throws Error when one of the texts is not a histogram */
export function mergedHistogram (texts: readonly string[]): TimeHistogram {
  const merged = new TimeHistogram()
  for (const text of texts) merged.merge(text)
  return merged
}
