/** What to do next in a race. Times are monotonic milliseconds. */
export type RaceStep =
  /** Ask candidate `index` now: the first one, in place of one that failed, or beside one that is late. */
  | { readonly do: 'ask', readonly index: number, readonly why: 'first' | 'failover' | 'hedge' }
  /** Let go of candidate `index`, which has had its time and may not have another asked beside it; it counts as failed. */
  | { readonly do: 'drop', readonly index: number }
  /** Nothing to do before `until` unless a candidate answers or fails. */
  | { readonly do: 'wait', readonly until: number }
  /** Every candidate has failed, or time is up. */
  | { readonly do: 'give up', readonly why: 'failed' | 'deadline' }

export interface RacePolicy {
  /** Time to an answer, ms. */
  readonly deadlineMs: number
  /** Candidates asked at the same time, at least 1. */
  readonly maxParallel: number
  /** How long a candidate may take when the budget lets nobody be asked beside it, ms: then the next is asked in its place. */
  readonly patienceMs: number
}

/**
 * A request to one super-node after another, overlapping where one is late (Dean and Barroso, "The Tail at Scale", 2013: hedged
 * requests). Pure decisions: the caller asks nodes, tells who failed, and stops at the first good answer.
 */
export class Race {
  readonly deadline: number
  readonly #delays: readonly number[]
  readonly #policy: RacePolicy
  /** Candidates before this one have been asked. */
  #next = 0
  readonly #running = new Map<number, number>()
  /** Failures beside others under way, each to be made up for by a further candidate. */
  #owed = 0
  #hedgeAt = Infinity
  #refused = false

  /** @param delays for each candidate, best first, how long it may take before the next one is asked beside it, ms */
  constructor (delays: readonly number[], now: number, policy: RacePolicy) {
    this.#delays = delays
    this.#policy = policy
    this.deadline = now + policy.deadlineMs
  }

  get running (): number { return this.#running.size }

  /** A candidate that was asked has failed. */
  failed (index: number): void {
    if (this.#running.delete(index)) this.#owed++
  }

  /**
   * What to do at `now`; to be asked again after every `ask`, every failure and every wait.
   * @param mayHedge asked when a further request is due only because another is late; a refusal holds until a candidate fails
   */
  step (now: number, mayHedge: () => boolean): RaceStep {
    if (now >= this.deadline) return { do: 'give up', why: 'deadline' }
    if (this.#next === this.#delays.length) return this.#running.size === 0 ? { do: 'give up', why: 'failed' } : { do: 'wait', until: this.deadline }
    if (this.#running.size === 0 || (this.#owed > 0 && this.#running.size < this.#policy.maxParallel)) {
      this.#owed = Math.max(0, this.#owed - 1)
      return this.#ask(now, this.#next === 0 ? 'first' : 'failover')
    }
    if (now >= this.#hedgeAt && this.#running.size < this.#policy.maxParallel) {
      this.#hedgeAt = Infinity
      if (mayHedge()) return this.#ask(now, 'hedge')
      this.#refused = true
    }
    const [longest] = this.#running
    const dropAt = this.#refused && longest !== undefined ? longest[1] + this.#policy.patienceMs : Infinity
    if (longest !== undefined && now >= dropAt) {
      this.failed(longest[0])
      return { do: 'drop', index: longest[0] }
    }
    const hedgeAt = this.#running.size < this.#policy.maxParallel ? this.#hedgeAt : Infinity
    return { do: 'wait', until: Math.min(this.deadline, hedgeAt, dropAt) }
  }

  #ask (now: number, why: 'first' | 'failover' | 'hedge'): RaceStep {
    const index = this.#next++
    this.#running.set(index, now)
    this.#refused = false
    this.#hedgeAt = now + (this.#delays[index] ?? 0)
    return { do: 'ask', index, why }
  }
}

/**
 * Caps hedges at a share of all requests, as a token bucket: every request adds `ratio` of a token, a hedge takes one. When all nodes are
 * slow, hedging would otherwise double the load on an origin that is already sick.
 */
export class HedgeBudget {
  readonly #ratio: number
  readonly #burst: number
  #tokens: number

  /** @param ratio hedges a request, 0 to 1  @param burst hedges that may come together after a calm time; the bucket starts full */
  constructor (ratio: number, burst: number) {
    this.#ratio = ratio
    this.#burst = ratio === 0 ? 0 : burst
    this.#tokens = this.#burst
  }

  get tokens (): number { return this.#tokens }

  /** A request that is not a hedge. */
  earn (): void { this.#tokens = Math.min(this.#burst, this.#tokens + this.#ratio) }

  /** True, and a token less, when a hedge may go out. */
  spend (): boolean {
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }
}
