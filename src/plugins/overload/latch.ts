/** Where a level begins and where it is over: `leave` is below `enter`, and what lies between changes nothing. */
export interface Threshold {
  readonly enter: number
  readonly leave: number
}

export interface LatchPolicy {
  /** Of the last `windowSamples` samples, how many must reach `enter`, the newest among them. */
  readonly enterSamples: number
  readonly windowSamples: number
  /** Time all samples must stay below `leave`, ms. */
  readonly holdMs: number
}

/**
 * One signal at one level: on after several bad samples, off after a calm time without any. Higher samples never turn it off earlier nor on
 * later, and once on it stays on for the calm time at least, which bounds how often it changes.
 */
export class Latch {
  #threshold: Threshold
  #policy: LatchPolicy
  /** Whether each of the last samples reached `enter`, oldest first. */
  readonly #hot: boolean[] = []
  #calmSince: number | undefined
  #on = false

  constructor (threshold: Threshold, policy: LatchPolicy) {
    this.#threshold = threshold
    this.#policy = policy
  }

  /** Goes by others from the next sample on; what was seen stays. */
  change (threshold: Threshold, policy: LatchPolicy): void {
    this.#threshold = threshold
    this.#policy = policy
  }

  get on (): boolean { return this.#on }

  /** Takes a sample at `now`, monotonic ms. */
  observe (value: number, now: number): void {
    const { enter, leave } = this.#threshold
    const { enterSamples, windowSamples, holdMs } = this.#policy
    const hot = value >= enter
    this.#hot.push(hot)
    while (this.#hot.length > windowSamples) this.#hot.shift()
    if (!this.#on) {
      this.#on = hot && this.#hot.filter(Boolean).length >= enterSamples
      this.#calmSince = undefined
    } else if (value >= leave) {
      this.#calmSince = undefined
    } else {
      this.#calmSince ??= now
      if (now - this.#calmSince >= holdMs) this.#on = false
    }
  }
}
