import type { ShareLimits } from './share-limits.ts'
import { MAX_GROUPS, type Demand, type DemandGroup } from './split-budget.ts'

/** Short, or a process would keep what its viewers took until a moment ago; too low an estimate makes them wait, which raises it again. */
const SMOOTHING_MS = 200
/** A satisfied viewer may go up one rung of the ladder: 480p to 720p is 2.5 times the bits. A level without it would send all of them up at the same time, and down again. */
const STEP_UP = 2.5
/** Below this a viewer counts as idle, in bits per second. */
const IDLE_BPS = 1000

/** What one viewer wants. */
export interface Wish {
  /** Bits per second it takes at most, whatever its share. */
  readonly limitBps: number | undefined
  /** Bits per second it may soon take at most. */
  readonly ceilingBps: number | undefined
  readonly busy: boolean
}

/** Measures what one viewer takes and how long it waits. Times are monotonic ms. */
export class DemandMeter {
  #sampledAt: number
  #bytes = 0
  #waitedMs = 0
  /** Waited before this sample began. */
  #waitedBefore = 0
  #waitingSince: number | undefined
  #bps: number | undefined
  #waits = 0
  #lastWaits = 0

  constructor (now: number) {
    this.#sampledAt = now
  }

  /** Bytes taken; negative when they come back. */
  took (bytes: number): void { this.#bytes += bytes }

  waits (now: number): void { this.#waitingSince ??= now }

  /** No request of the viewer waits any more. */
  served (now: number): void {
    if (this.#waitingSince === undefined) return
    this.#waitedMs += now - this.#waitingSince
    this.#waitingSince = undefined
  }

  /** Milliseconds waited since the viewer joined. */
  waitedMs (now: number): number {
    return this.#waitedMs + (this.#waitingSince === undefined ? 0 : now - this.#waitingSince)
  }

  /** Ends a sample. */
  sample (now: number): void {
    const ms = now - this.#sampledAt
    if (ms <= 0) return
    const bps = Math.max(0, this.#bytes) * 8000 / ms
    const waited = this.waitedMs(now)
    this.#lastWaits = Math.min(1, (waited - this.#waitedBefore) / ms)
    const keeps = this.#bps === undefined ? 0 : Math.exp(-ms / SMOOTHING_MS)
    this.#bps = (this.#bps ?? 0) * keeps + bps * (1 - keeps)
    this.#waits = this.#waits * keeps + this.#lastWaits * (1 - keeps)
    this.#bytes = 0
    this.#waitedBefore = waited
    this.#sampledAt = now
  }

  /**
   * As of the last sample; undefined for an idle viewer. One that waits half of its time wants all it gets; one that waits less would have taken as
   * much as it did in the time it did not wait.
   */
  wish (capBps: number | undefined): Wish | undefined {
    if (Math.max(this.#waits, this.#lastWaits) >= 0.5) return { limitBps: capBps, ceilingBps: capBps, busy: true }
    const bps = (this.#bps ?? 0) / (1 - this.#waits)
    if (bps < IDLE_BPS) return undefined
    const cap = capBps ?? Infinity
    return { limitBps: Math.min(cap, bps), ceilingBps: Math.min(cap, STEP_UP * bps), busy: false }
  }
}

interface Sum { viewers: number, weight: number, floorBps: number, limitBps: number | undefined, ceilingBps: number | undefined }

function add (a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a + b
}

function addTo (sum: Sum, group: DemandGroup): void {
  sum.viewers += group.viewers
  sum.weight += group.weight
  sum.floorBps += group.floorBps
  sum.limitBps = add(sum.limitBps, group.limitBps)
  sum.ceilingBps = add(sum.ceilingBps, group.ceilingBps)
}

/** Viewers that one water level serves alike; what satisfied viewers take is rounded to half an octave, so that there are few groups. */
function likeness (limits: ShareLimits, wish: Wish): string {
  const limit = wish.limitBps === undefined ? Infinity : wish.limitBps / limits.weight
  const floor = (limits.floorBps ?? 0) / limits.weight
  return `${floor}|${wish.busy ? limit : `~${Math.round(2 * Math.log2(limit))}`}`
}

/** The demand of viewers in at most `MAX_GROUPS` groups. */
export function gatherDemand (viewers: Iterable<{ readonly limits: ShareLimits, readonly meter: DemandMeter }>): Demand {
  const groups = new Map<string, Sum>()
  let joinedWeight = 0
  for (const { limits, meter } of viewers) {
    joinedWeight += limits.weight
    const wish = meter.wish(limits.capBps)
    if (wish === undefined) continue
    const key = likeness(limits, wish)
    const one = { viewers: 1, weight: limits.weight, floorBps: limits.floorBps ?? 0, limitBps: wish.limitBps, ceilingBps: wish.ceilingBps }
    const sum = groups.get(key)
    if (sum === undefined) groups.set(key, one)
    else addTo(sum, one)
  }
  return { groups: merged([...groups.values()]), joinedWeight }
}

/** At most `MAX_GROUPS`: neighbours by limit per weight become one. */
function merged (groups: Sum[]): Sum[] {
  if (groups.length <= MAX_GROUPS) return groups
  const limit = (group: Sum): number => group.limitBps === undefined ? Infinity : group.limitBps / group.weight
  groups.sort((a, b) => limit(a) - limit(b))
  const size = Math.ceil(groups.length / MAX_GROUPS)
  const sums: Sum[] = []
  groups.forEach((group, index) => {
    const last = sums.at(-1)
    if (index % size === 0 || last === undefined) sums.push({ ...group })
    else addTo(last, group)
  })
  return sums
}
