/** A claim on memory; released once. */
export interface MemoryGrant {
  readonly bytes: number
  release (): void
}

interface BudgetWaiter {
  readonly bytes: number
  readonly grant: () => void
}

/** A bounded amount of memory handed out first come, first served. A holder never waits for more, so holders do not wait for each other. */
export class MemoryBudget {
  readonly maxBytes: number
  #used = 0
  readonly #waiters: BudgetWaiter[] = []

  constructor (maxBytes: number) {
    this.maxBytes = maxBytes
  }

  get usedBytes (): number { return this.#used }
  get waiting (): number { return this.#waiters.length }

  /** Waits for `bytes`; undefined when `signal` aborts first or more is asked for than there is in all. */
  async acquire (bytes: number, signal: AbortSignal): Promise<MemoryGrant | undefined> {
    if (bytes > this.maxBytes || signal.aborted) return undefined
    if (this.#waiters.length === 0 && this.#used + bytes <= this.maxBytes) return this.#grant(bytes)
    return await new Promise(resolve => {
      const waiter: BudgetWaiter = {
        bytes,
        grant: () => {
          signal.removeEventListener('abort', onAbort)
          resolve(this.#grant(bytes))
        }
      }
      const onAbort = (): void => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1)
        resolve(undefined)
        this.#serve()
      }
      signal.addEventListener('abort', onAbort, { once: true })
      this.#waiters.push(waiter)
    })
  }

  /** A grant of `bytes` in the place of a smaller one, without waiting; undefined, and the old one stays, when there is too little or others wait. */
  exchange (grant: MemoryGrant, bytes: number): MemoryGrant | undefined {
    if (this.#waiters.length > 0 || this.#used - grant.bytes + bytes > this.maxBytes) return undefined
    grant.release()
    return this.#grant(bytes)
  }

  #grant (bytes: number): MemoryGrant {
    this.#used += bytes
    let held = true
    return {
      bytes,
      release: () => {
        if (!held) return
        held = false
        this.#used -= bytes
        this.#serve()
      }
    }
  }

  #serve (): void {
    for (let first = this.#waiters[0]; first !== undefined && this.#used + first.bytes <= this.maxBytes; first = this.#waiters[0]) {
      this.#waiters.shift()
      first.grant()
    }
  }
}
