/** What one look at the cache knows. */
export interface SizingFacts {
  /** Bound in force, bytes. */
  readonly bytes: number
  /** Stored, reserved and condemned, bytes. */
  readonly usedBytes: number
  /** Free for anybody on the disk, bytes; undefined when the disk does not say. */
  readonly freeBytes: number | undefined
  /** Share of the bytes asked for that would be hits with a capacity; undefined while too little was seen. */
  readonly byteHitRatioAt: ((bytes: number) => number) | undefined
}

export interface StepsOptions {
  readonly minBytes: number
  readonly maxBytes: number
  /** Free space of the disk that is never taken, bytes. */
  readonly keepFreeBytes: number
  /** Growing by a step must bring so many points (hundredths) of the byte hit ratio. */
  readonly gainPoints: number
}

export interface SizeStep {
  readonly bytes: number
  readonly reason: 'gain' | 'no-gain' | 'disk' | 'bounds'
}

/** A step, of the bound in force. */
export const STEP_SHARE = 0.1
/** The cache is full. */
const FULL_SHARE = 0.95
/** Looks in a row that must say the same before it grows, and before it shrinks without need. */
export const GROW_AFTER = 3
export const SHRINK_AFTER = 12
/** A step down may cost this share of what a step up must bring: in between nothing moves. */
const IDLE_SHARE = 1 / 4

/**
 * Moves the bound of the cache between two others: up by a step while that brings enough hits and the disk has room for two, down when it brings hardly any,
 * and immediately when others need the disk.
 */
export class Steps {
  readonly #options: StepsOptions
  #growing = 0
  #shrinking = 0

  constructor (options: StepsOptions) {
    this.#options = options
  }

  /** @returns the next bound, when it is to change */
  look (facts: SizingFacts): SizeStep | undefined {
    const { minBytes, maxBytes, keepFreeBytes } = this.#options
    const within = (bytes: number): number => Math.round(Math.min(maxBytes, Math.max(minBytes, bytes)))
    const { bytes, usedBytes, freeBytes } = facts
    if (bytes !== within(bytes)) return this.#step(within(bytes), 'bounds')
    const missing = freeBytes === undefined ? 0 : keepFreeBytes - freeBytes
    // What it is below the bound already gives nothing back.
    if (missing > 0) return within(usedBytes - missing) < bytes ? this.#step(within(usedBytes - missing), 'disk') : undefined
    const step = bytes * STEP_SHARE
    const gain = this.#points(facts, bytes, bytes + step)
    const loss = this.#points(facts, bytes - step, bytes)
    const grows = gain !== undefined && gain >= this.#options.gainPoints && usedBytes >= bytes * FULL_SHARE && freeBytes !== undefined && freeBytes - keepFreeBytes >= 2 * step && within(bytes + step) > bytes
    const shrinks = loss !== undefined && !grows && loss < this.#options.gainPoints * IDLE_SHARE && within(bytes - step) < bytes
    this.#growing = grows ? this.#growing + 1 : 0
    this.#shrinking = shrinks ? this.#shrinking + 1 : 0
    if (this.#growing === GROW_AFTER) return this.#step(within(bytes + step), 'gain')
    if (this.#shrinking === SHRINK_AFTER) return this.#step(within(bytes - step), 'no-gain')
    return undefined
  }

  #points ({ byteHitRatioAt }: SizingFacts, from: number, to: number): number | undefined {
    return byteHitRatioAt === undefined ? undefined : (byteHitRatioAt(to) - byteHitRatioAt(from)) * 100
  }

  #step (bytes: number, reason: SizeStep['reason']): SizeStep {
    this.#growing = 0
    this.#shrinking = 0
    return { bytes, reason }
  }
}
