/** Outcomes after which the depth is looked at again: one video has ten data shards. */
export const ROUND = 8
/** Useful ones of a round from which on there is one object more, and below which there is one less. */
const MORE_AT = 6
const LESS_BELOW = 4
/** Pause between attempts while nothing is brought in ahead, ms: one object a minute is no load, and habits change by the hour. */
export const PROBE_MS = 60_000

/**
 * How many objects are brought in ahead of a request, by how many of the last ones were used. Pure: outcomes and times are arguments.
 * Between three quarters and a half of useful ones nothing changes, so that chance does not.
 */
export class Depth {
  readonly #max: number
  #depth: number
  #useful = 0
  #settled = 0
  /** Monotonic, ms: when the next attempt may be, at depth 0. */
  #probeAt = -Infinity

  constructor (start: number, max: number) {
    this.#max = max
    this.#depth = Math.min(start, max)
  }

  /** Objects ahead, 0 to the maximum. */
  get current (): number { return this.#depth }

  /** Objects that may be brought in ahead of a request at `now`: one at depth 0 too, when an attempt is due. */
  allowed (now: number): number {
    return this.#depth > 0 ? this.#depth : now >= this.#probeAt ? 1 : 0
  }

  /** One is being brought in. */
  began (now: number): void {
    if (this.#depth === 0) this.#probeAt = now + PROBE_MS
  }

  /** One was asked for in time, or was not. */
  settled (useful: boolean, now: number): void {
    this.#settled++
    if (useful) this.#useful++
    // An attempt that was worth it is a beginning; what is left of earlier rounds is not held against it.
    if (this.#depth === 0 ? !useful : this.#settled < ROUND) return
    const before = this.#depth
    if (before === 0 || this.#useful >= MORE_AT) this.#depth = Math.min(this.#max, before + 1)
    else if (this.#useful < LESS_BELOW) this.#depth = before - 1
    if (this.#depth === 0) this.#probeAt = now + PROBE_MS
    this.#useful = 0
    this.#settled = 0
  }
}
