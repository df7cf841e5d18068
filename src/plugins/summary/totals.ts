import type { MetricSeries } from '../metrics/relay-metrics.ts'

/** Sums of series by the values of a label. */
export function totalsBy (label: string, series: readonly MetricSeries[]): Record<string, number> {
  // No name of a node may be that of something every object has.
  const totals = new Map<string, number>()
  for (const { labels, value } of series) {
    const name = String(labels[label] ?? '')
    totals.set(name, (totals.get(name) ?? 0) + value)
  }
  return Object.fromEntries(totals)
}

/** Sum of all series. */
export function totalOf (series: readonly MetricSeries[]): number {
  return series.reduce((sum, { value }) => sum + value, 0)
}

/**
 * Buckets of a histogram added up over its series with these labels.
 * @param bounds ascending
 * @returns how many were within each bound, and how many there were
 */
export function bucketsOf (labels: Readonly<Record<string, string>>, bounds: readonly number[], series: readonly MetricSeries[]): number[] {
  const wanted = series.filter(one => Object.entries(labels).every(([name, value]) => one.labels[name] === value))
  return [...bounds, '+Inf'].map(bound => totalOf(wanted.filter(({ labels: { le } }) => le === bound)))
}
