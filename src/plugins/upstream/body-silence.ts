/** How long the node of a body may say nothing. */
export interface SilencePolicy {
  /** Silence from which it is late, ms. */
  readonly lateMs: number
  /** Further silence after which another node is asked although the budget lets nobody be asked beside, ms. */
  readonly patienceMs: number
}

/** A node that makes pauses is late after so many times its longest one. */
const USUAL_PAUSES = 2
/** Other nodes asked while one body comes, whatever becomes of that. */
export const MAX_ASKED_BESIDE = 4

/**
 * When a node that has begun a body is late, so that another is asked for the rest beside it: the rule of a hedged request ({@link Race}), for what comes
 * behind the head. Pure decisions, for one source.
 */
export class BodySilence {
  readonly #policy: SilencePolicy
  #longest = 0
  #refused = false
  #asked = false

  constructor (policy: SilencePolicy) {
    this.#policy = policy
  }

  /** Silence from which the node is late now, ms; after {@link SilencePolicy.patienceMs} more anybody is. */
  get lateMs (): number {
    const { lateMs, patienceMs } = this.#policy
    return Math.min(lateMs + patienceMs, Math.max(lateMs, USUAL_PAUSES * this.#longest))
  }

  /** The node has spoken, after a silence of `ms`. */
  spoke (ms: number): void {
    this.#longest = Math.max(this.#longest, ms)
    this.#refused = false
    this.#asked = false
  }

  /**
   * What to do after a silence of `ms`.
   * @param mayHedge asked once in a silence, when another is due only because this one is late
   * @returns the ms to wait before it is asked again; Infinity when nothing is to be done before the node speaks
   */
  step (ms: number, mayHedge: () => boolean): 'ask' | number {
    if (this.#asked) return Infinity
    if (ms < this.lateMs) return this.lateMs - ms
    const due = this.lateMs + this.#policy.patienceMs
    if (ms < due && (this.#refused || !mayHedge())) {
      this.#refused = true
      return due - ms
    }
    this.#asked = true
    return 'ask'
  }
}
