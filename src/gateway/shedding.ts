import { OVERLOAD_EFFECTS, type OverloadState } from '../channel/overload-states.ts'

/** What the relay's overload means for sessions: how large their chunks are, and where new ones go. */
export class Shedding {
  #state: OverloadState = 'normal'
  #targets: readonly string[] = []
  #turn = 0

  get backgroundAllowed (): boolean { return OVERLOAD_EFFECTS[this.#state].backgroundAllowed }
  /** What bursts and chunks are multiplied by, in (0, 1]. */
  get burstFactor (): number { return OVERLOAD_EFFECTS[this.#state].burstFactor }
  /** New sessions are refused, because there is nowhere to send them. */
  get refuses (): boolean { return this.#state === 'shedding' && this.#targets.length === 0 }

  set (state: OverloadState, targets: readonly string[]): void {
    this.#state = state
    this.#targets = targets
  }

  /** Where the next new session goes, best first and each the first in its turn; undefined when it may stay. */
  next (): readonly [string, ...string[]] | undefined {
    if (this.#state !== 'shedding') return undefined
    const start = this.#turn++ % Math.max(1, this.#targets.length)
    const [first, ...others] = [...this.#targets.slice(start), ...this.#targets.slice(0, start)]
    return first === undefined ? undefined : [first, ...others]
  }
}
