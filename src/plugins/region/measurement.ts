/** Handshakes per super-node and detection: the fewest that have a median which one lost packet does not move. */
export const SAMPLES = 3

/** What one detection found out about one super-node. */
export interface NodeMeasurement {
  readonly id: string
  readonly region: string
  /** Milliseconds for one round trip each; null where the handshake failed or the time was up. */
  readonly samples: readonly (number | null)[]
  /** Milliseconds; null when the node counts as unreachable. */
  readonly medianMs: number | null
}

/**
 * Middle value, ms. A sample that failed counts as slower than any other, so a node whose handshakes mostly fail has none: null.
 * Of an even number of samples it is the slower one of the two in the middle.
 */
export function median (samples: readonly (number | null)[]): number | null {
  const sorted = samples.map(sample => sample ?? Infinity).sort((a, b) => a - b)
  const middle = sorted[Math.floor(sorted.length / 2)] ?? Infinity
  return Number.isFinite(middle) ? middle : null
}

/** Latency by region, ms: the lowest median of its reachable nodes. Regions without one are absent; the order is that of the nodes. */
export function latencyByRegion (nodes: readonly Pick<NodeMeasurement, 'region' | 'medianMs'>[]): Map<string, number> {
  const latencies = new Map<string, number>()
  for (const { region, medianMs } of nodes) {
    if (medianMs !== null) latencies.set(region, Math.min(latencies.get(region) ?? Infinity, medianMs))
  }
  return latencies
}
