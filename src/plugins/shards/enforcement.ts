import type { Denies } from '../denylist/denylist.ts'

/** What a change of the denylist means for what is here already. */
export interface EnforcementOptions {
  readonly denies: Denies
  /** Ends what is under way. */
  readonly revoke: (denies: Denies) => void
  /** Evicts what is cached, some at a time. @returns how many objects went */
  readonly purge: (denies: Denies) => Promise<number>
  /** Objects went. */
  readonly purged: (objects: number) => void
  readonly failed: (error: unknown) => void
}

/** Sees to it that nothing of what is denied stays: immediately for those who read it, one pass over the cache at a time for what nobody reads. */
export class Enforcement {
  readonly #options: EnforcementOptions
  #running: Promise<void> | undefined
  #again = false
  #closed = false

  constructor (options: EnforcementOptions) {
    this.#options = options
  }

  /** Something is denied that was not. */
  begin (): void {
    if (this.#closed) return
    this.#options.revoke(this.#options.denies)
    this.#again = true
    this.#running ??= this.#run().finally(() => { this.#running = undefined })
  }

  async close (): Promise<void> {
    this.#closed = true
    await this.#running
  }

  /** What is denied during a pass may be behind where that is. */
  async #run (): Promise<void> {
    while (this.#again && !this.#closed) {
      this.#again = false
      try {
        const objects = await this.#options.purge(cid => !this.#closed && this.#options.denies(cid))
        if (objects > 0) this.#options.purged(objects)
      } catch (error) {
        this.#options.failed(error)
      }
    }
  }
}
