import { RelayError } from '../../base/errors.ts'
import type { RunningFill } from './running-fill.ts'

/** Fills under way, a bounded number of them. One that nobody waits for makes room for one that somebody does. */
export class FillPlaces {
  readonly #max: number
  /** How to end each, the oldest first; one for each fill: a signal shared by all would keep a reference to every fill there ever was. */
  readonly #aborts = new Map<RunningFill, AbortController>()
  /** Were told to make room and have not ended yet; at most {@link #max}. */
  readonly #ending = new Set<RunningFill>()

  constructor (max: number) {
    this.#max = max
  }

  get size (): number { return this.#aborts.size + this.#ending.size }

  /** Those that nobody waits for. */
  get unwanted (): number { return [...this.#aborts.keys()].filter(({ readers }) => readers === 0).length + this.#ending.size }

  /** Makes sure that one more may begin. @throws RelayError RELAY_ERR_FILLS_BUSY */
  makeRoom (): void {
    if (this.#aborts.size < this.#max) return
    const oldest = this.#ending.size < this.#max ? [...this.#aborts].find(([{ readers }]) => readers === 0) : undefined
    if (oldest === undefined) throw new RelayError('RELAY_ERR_FILLS_BUSY', `${this.#max} fills are in progress`)
    const [fill, abort] = oldest
    this.#aborts.delete(fill)
    this.#ending.add(fill)
    abort.abort(new RelayError('RELAY_ERR_FILLS_BUSY', 'nobody waited for the object, and its place was needed'))
  }

  add (fill: RunningFill, abort: AbortController): void {
    this.#aborts.set(fill, abort)
  }

  /** Ends one that nobody waits for; false when somebody does, or it has ended. */
  giveUp (fill: RunningFill, reason: RelayError): boolean {
    const abort = fill.readers === 0 ? this.#aborts.get(fill) : undefined
    abort?.abort(reason)
    return abort !== undefined
  }

  /** It has ended. */
  remove (fill: RunningFill): void {
    this.#aborts.delete(fill)
    this.#ending.delete(fill)
  }

  /** Ends all of them. */
  abort (reason: RelayError): void {
    for (const abort of this.#aborts.values()) abort.abort(reason)
  }
}
