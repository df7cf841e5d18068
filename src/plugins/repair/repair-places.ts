import { RelayError } from '../../base/errors.ts'

/** Repairs that wait for a place at most; each is one shard that viewers wait for. */
export const MAX_WAITING_REPAIRS = 64

/** Places for repairs under way: bounded, and so are those who wait for one, first come, first served. */
export class RepairPlaces {
  readonly #places: number
  readonly #waiting = new Set<() => void>()
  #taken = 0

  constructor (places: number) {
    this.#places = places
  }

  get taken (): number { return this.#taken }
  get waiting (): number { return this.#waiting.size }

  /**
   * Waits for a place.
   * @returns gives it back; idempotent
   * @throws RelayError RELAY_ERR_FILLS_BUSY when too many wait; the reason of the signal
   */
  async take (signal: AbortSignal): Promise<() => void> {
    if (signal.aborted) throw signal.reason
    if (this.#taken < this.#places) this.#taken++
    else await this.#wait(signal)
    let held = true
    return () => {
      if (!held) return
      held = false
      const [next] = this.#waiting
      // A place goes from hand to hand.
      if (next === undefined) this.#taken--
      else next()
    }
  }

  async #wait (signal: AbortSignal): Promise<void> {
    if (this.#waiting.size >= MAX_WAITING_REPAIRS) throw new RelayError('RELAY_ERR_FILLS_BUSY', `${this.#taken} shards are being rebuilt and ${this.#waiting.size} wait for that`)
    await new Promise<void>((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.delete(go)
        signal.removeEventListener('abort', abort)
      }
      const go = (): void => {
        leave()
        resolve()
      }
      const abort = (): void => {
        leave()
        reject(signal.reason instanceof Error ? signal.reason : new Error('aborted'))
      }
      this.#waiting.add(go)
      signal.addEventListener('abort', abort)
    })
  }
}
