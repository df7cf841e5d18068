import { median } from '../tools/harness/median.ts'

/**
 * The smallest value that at least a share `q` of all are no larger than (nearest rank); NaN of none.
 * @param sorted ascending
 */
export function quantile (sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))] ?? Number.NaN
}

/** A ratio measured pair by pair: both sides of a pair ran one after the other, so what else the machine did met both. */
export interface Ratio {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** Ratios of values of the same run; undefined when no run has both. */
export function pairedRatio (numerators: readonly (number | undefined)[], denominators: readonly (number | undefined)[]): Ratio | undefined {
  const ratios = numerators.flatMap((numerator, run) => {
    const denominator = denominators[run]
    return numerator === undefined || denominator === undefined || !Number.isFinite(numerator) || !Number.isFinite(denominator) || denominator === 0 ? [] : [numerator / denominator]
  })
  return ratios.length === 0 ? undefined : { median: median(ratios), min: Math.min(...ratios), max: Math.max(...ratios) }
}
