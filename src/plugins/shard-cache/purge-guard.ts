/** Purges that are remembered until index and directory agree; beyond, no file is taken over before that. */
export const MAX_REMEMBERED = 1_000

/** Purges that are under way: of what they match nothing is stored meanwhile, and no file of an earlier run is taken over after them. */
export class PurgeGuard {
  readonly #running = new Set<(cid: string) => boolean>()
  /** Undefined once index and directory agree. */
  #ended: ((cid: string) => boolean)[] | undefined
  #begun = 0

  /** Purges begun so far: who finds another number than before does not know whether what it has is from before a purge. */
  get begun (): number { return this.#begun }

  /** Remembers purges until index and directory agree. Must not reject. */
  async until (reconciled: Promise<unknown>): Promise<void> {
    this.#ended = []
    await reconciled
    this.#ended = undefined
  }

  /** Whether an object must not be stored. */
  forbids (cid: string): boolean {
    for (const matches of this.#running) if (matches(cid)) return true
    return false
  }

  /** Whether a file that lies in the directory must not be taken over. */
  forbidsFile (cid: string): boolean {
    const ended = this.#ended ?? []
    return this.forbids(cid) || ended.length >= MAX_REMEMBERED || ended.some(matches => matches(cid))
  }

  /** @returns ends it */
  begin (matches: (cid: string) => boolean): () => void {
    this.#begun++
    this.#running.add(matches)
    return () => {
      this.#running.delete(matches)
      if (this.#ended !== undefined && this.#ended.length < MAX_REMEMBERED) this.#ended.push(matches)
    }
  }
}
