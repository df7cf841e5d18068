/** Places for work under way: bounded, and so are those who wait for one, first come, first served. */
export class Places {
  readonly #places: number
  readonly #maxWaiting: number
  readonly #busy: (taken: number, waiting: number) => Error
  readonly #waiting = new Set<() => void>()
  #taken = 0

  /** @param busy what those hear who come while too many wait */
  constructor (places: number, maxWaiting: number, busy: (taken: number, waiting: number) => Error) {
    this.#places = places
    this.#maxWaiting = maxWaiting
    this.#busy = busy
  }

  get taken (): number { return this.#taken }
  get waiting (): number { return this.#waiting.size }

  /**
   * Waits for a place.
   * @param signal ends the wait
   * @returns gives it back; idempotent
   * @throws what `busy` gives when too many wait; the reason of the signal
   */
  async take (signal?: AbortSignal): Promise<() => void> {
    if (signal?.aborted === true) throw signal.reason
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

  async #wait (signal: AbortSignal | undefined): Promise<void> {
    if (this.#waiting.size >= this.#maxWaiting) throw this.#busy(this.#taken, this.#waiting.size)
    await new Promise<void>((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.delete(go)
        signal?.removeEventListener('abort', abort)
      }
      const go = (): void => {
        leave()
        resolve()
      }
      const abort = (): void => {
        leave()
        reject(signal?.reason instanceof Error ? signal.reason : new Error('aborted'))
      }
      this.#waiting.add(go)
      signal?.addEventListener('abort', abort)
    })
  }
}
