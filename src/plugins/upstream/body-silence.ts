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
  /** Silence after which another was asked last, ms. */
  #askedAt: number | undefined

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
    this.#askedAt = undefined
  }

  /**
   * What to do after a silence of `ms`.
   * @param mayHedge asked once in a silence, when another is due only because this one is late
   * @returns `ask`, also when the one that was asked is late itself; or the ms to wait before this is called again
   */
  step (ms: number, mayHedge: () => boolean): 'ask' | number {
    const patient = this.lateMs + this.#policy.patienceMs
    const due = (this.#askedAt ?? 0) + (this.#askedAt === undefined && !this.#refused ? this.lateMs : patient)
    if (ms < due) return due - ms
    if (ms < patient && !mayHedge()) {
      this.#refused = true
      return patient - ms
    }
    this.#askedAt = ms
    return 'ask'
  }
}
