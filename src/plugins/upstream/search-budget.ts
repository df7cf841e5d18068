/** Nodes that must say that they do not have an object before its name is taken for one that does not exist. */
export const ENOUGH_NOT_FOUND = 2

/** Further questions that may come together after a calm time. */
export const SEARCH_BURST = 20
/** What comes back with time, questions a second: a flood of made-up names costs this much more, whatever number of nodes there is. */
const PER_SECOND = 1
/** A question that found the object pays for itself and for one in vain, so nodes that share objects out among them are searched as often as need be. */
const REWARD = 2

/** Caps questions to further nodes when {@link ENOUGH_NOT_FOUND} do not have an object, as a token bucket. */
export class SearchBudget {
  #tokens = SEARCH_BURST
  #at: number

  /** @param now monotonic ms */
  constructor (now: number) {
    this.#at = now
  }

  /** True, and a token less, when one more node may be asked. */
  spend (now: number): boolean {
    this.#tokens = Math.min(SEARCH_BURST, this.#tokens + (now - this.#at) / 1_000 * PER_SECOND)
    this.#at = now
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }

  /** One of those nodes had the object. */
  found (): void {
    this.#tokens = Math.min(SEARCH_BURST, this.#tokens + REWARD)
  }
}
