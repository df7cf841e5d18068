/** Whether memory grows: a robust regression over samples of resident memory; pure. */

export interface Sample {
  readonly seconds: number
  readonly bytes: number
}

export interface Trend {
  readonly samples: number
  /** Length of the window, seconds. */
  readonly seconds: number
  readonly medianBytes: number
  /** Theil-Sen estimator: the median of the slopes of all pairs, which a third of outliers (collections, bursts) do not move. */
  readonly bytesPerSecond: number
  /** What the slope makes of the whole window. */
  readonly growthBytes: number
}

/** Pairs grow with the square: more samples than this are thinned evenly. */
const MAX_SAMPLES = 400
/** Collections of the heap come every few seconds: less says nothing. */
const MIN_SECONDS = 60
const MIN_SAMPLES = 20
/** A heap that works moves by this much without growing: measured over minutes of steady load, twice what was seen. */
const ALLOWED_BYTES = 24_000_000
const ALLOWED_SHARE = 0.1

function middle (sorted: Float64Array): number {
  const half = sorted.length >> 1
  const upper = sorted[half] ?? 0
  return sorted.length % 2 === 1 ? upper : ((sorted[half - 1] ?? 0) + upper) / 2
}

function thinned (samples: readonly Sample[]): readonly Sample[] {
  if (samples.length <= MAX_SAMPLES) return samples
  return Array.from({ length: MAX_SAMPLES }, (_, index) => samples[Math.floor(index * samples.length / MAX_SAMPLES)] ?? { seconds: 0, bytes: 0 })
}

/** The trend of samples in ascending order of time. */
export function trendOf (all: readonly Sample[]): Trend {
  const samples = thinned(all)
  const slopes: number[] = []
  for (const [index, from] of samples.entries()) {
    for (const to of samples.slice(index + 1)) if (to.seconds > from.seconds) slopes.push((to.bytes - from.bytes) / (to.seconds - from.seconds))
  }
  const bytesPerSecond = middle(Float64Array.from(slopes).sort())
  const seconds = (samples.at(-1)?.seconds ?? 0) - (samples[0]?.seconds ?? 0)
  return {
    samples: all.length,
    seconds,
    medianBytes: middle(Float64Array.from(samples, ({ bytes }) => bytes).sort()),
    bytesPerSecond,
    growthBytes: bytesPerSecond * seconds
  }
}

/** Whether the window is long enough to tell growth from a heap at work. */
export function isTelling ({ samples, seconds }: Trend): boolean {
  return samples >= MIN_SAMPLES && seconds >= MIN_SECONDS
}

/** Growth that is no longer a heap at work; never of a window that says nothing. */
export function isLeak (trend: Trend): boolean {
  return isTelling(trend) && trend.growthBytes > ALLOWED_BYTES + ALLOWED_SHARE * trend.medianBytes
}
