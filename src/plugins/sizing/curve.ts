import type { CurvePoint } from './miniature.ts'

/** Capacities of the curve, as shares of the one in force. */
const SHARES = [1 / 8, 1 / 4, 1 / 2, 3 / 4, 1, 5 / 4, 3 / 2, 2, 3, 4, 8]
/** Beyond these shares of the middle of a curve it is of no use any more. */
const LEAST_SHARE = 1 / 4
const MOST_SHARE = 4

/** Capacities to estimate for around the one in force, bytes, ascending. */
export function capacitiesAround (bytes: number): number[] {
  return [...new Set(SHARES.map(share => Math.max(1, Math.round(bytes * share))))]
}

/** Whether a curve around `middle` says enough of a capacity. */
export function coversWell (middle: number, bytes: number): boolean {
  return bytes >= middle * LEAST_SHARE && bytes <= middle * MOST_SHARE
}

/** Share of the bytes asked for that would be hits with a capacity, between the estimates on a straight line; that of the nearest one outside of them. */
export function byteHitRatioAt (curve: readonly CurvePoint[], bytes: number): number {
  let before: CurvePoint = { bytes: 0, hitRatio: 0, byteHitRatio: 0 }
  for (const point of curve) {
    if (bytes <= point.bytes) return before.byteHitRatio + (point.byteHitRatio - before.byteHitRatio) * (bytes - before.bytes) / (point.bytes - before.bytes)
    before = point
  }
  return before.byteHitRatio
}
