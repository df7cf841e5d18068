/** Viewers that a common level serves alike. Takes `weight × level`, but no less than its floor and no more than its limit; a limit below the floor wins. */
export interface Basin {
  readonly weight: number
  readonly floor: number
  readonly limit: number
}

export interface Level {
  /** For weight 1; Infinity when the total exceeds all limits. */
  readonly level: number
  /** What every floor is multiplied by, 0 to 1: below 1 when floors exceed the total together. */
  readonly floorScale: number
}

/** Weighted max-min fairness by water-filling: the level at which the basins take `total` in all. O(n log n). */
export function fillLevel (basins: readonly Basin[], total: number): Level {
  const floors = takenAt(basins, { level: 0, floorScale: 1 })
  if (floors > total) {
    // The floors are weights then, and nothing is left for the weights.
    const scarce = basins.filter(basin => basin.floor > 0).map(({ floor, limit }) => ({ weight: floor, floor: 0, limit }))
    return { level: 0, floorScale: Math.min(1, fillLevel(scarce, total).level) }
  }
  // A basin takes more with the level between its two knees.
  const knees = basins.flatMap(({ weight, floor, limit }) => [
    { at: Math.min(floor, limit) / weight, weight },
    { at: limit / weight, weight: -weight }
  ]).sort((a, b) => a.at - b.at)
  let level = 0
  let taken = floors
  let rising = 0
  for (const knee of knees) {
    const more = rising > 0 ? rising * (knee.at - level) : 0
    if (rising > 0 && taken + more >= total) return { level: level + (total - taken) / rising, floorScale: 1 }
    taken += more
    level = knee.at
    rising = Math.max(0, rising + knee.weight)
  }
  return { level: Infinity, floorScale: 1 }
}

/** What the basins take together at a level. */
export function takenAt (basins: readonly Basin[], { level, floorScale }: Level): number {
  return basins.reduce((sum, { weight, floor, limit }) => sum + Math.min(limit, Math.max(floor * floorScale, weight * level)), 0)
}
