import type { Clock } from '../../base/clock.ts'
import { RelayError } from '../../base/errors.ts'
import { Serial } from '../../base/serial.ts'
import { cidOfId } from '../../protocol/shard-key.ts'
import type { PurgeWhat } from '../shard-cache/purges.ts'
import { selectCids, type PurgeSelector } from './selector.ts'

export interface PurgerOptions {
  readonly purge: (what: PurgeWhat) => Promise<number>
  /** What is on its way into the cache is not stored. @param matches ids of keys */
  readonly forbidStore: (matches: (id: string) => boolean) => void
  /** Tags of a CID, of what is cached and of what is on its way. */
  readonly tagsOf: (cid: string) => readonly string[]
  readonly clock: Clock
  /** Objects went, or are stale. */
  readonly purged: (mode: PurgeMode, objects: number) => void
}

/** `hard` evicts; `soft` has what is cached served until it was fetched again. */
export const PURGE_MODES = ['hard', 'soft'] as const
export type PurgeMode = (typeof PURGE_MODES)[number]

/** What became of a purge. */
export interface PurgeReport {
  /** Objects. */
  readonly purged: number
  readonly ms: number
}

/** Purges that wait for others; each is one pass over the cache. */
export const MAX_WAITING_PURGES = 16

/** Purges that operators ask for, one after the other. */
export class Purger {
  readonly #options: PurgerOptions
  readonly #serial = new Serial()
  #open = 0
  #closed = false

  constructor (options: PurgerOptions) {
    this.#options = options
  }

  /** Those under way and those that wait. */
  get open (): number { return this.#open }

  /**
   * Evicts what is selected, or marks it as stale; nothing of it that was on its way into the cache before the purge has ended is stored.
   * @throws RelayError RELAY_ERR_BAD_REQUEST, RELAY_ERR_JOBS_BUSY, RELAY_ERR_STOPPING
   */
  async purge (selector: PurgeSelector, mode: PurgeMode = 'hard'): Promise<PurgeReport> {
    const { tagsOf } = this.#options
    const { matches, cids } = selectCids(selector, tagsOf)
    if (this.#open > MAX_WAITING_PURGES) throw new RelayError('RELAY_ERR_JOBS_BUSY', `${MAX_WAITING_PURGES} purges wait already`, { retryAfterSeconds: 1 })
    this.#open++
    try {
      return await this.#serial.run(async () => await this.#run(cid => !this.#closed && matches(cid), cids, mode))
    } finally {
      this.#open--
    }
  }

  /** Ends what is under way; what it has not evicted by then stays. */
  async close (): Promise<void> {
    this.#closed = true
    await this.#serial.ended()
  }

  async #run (matches: (cid: string) => boolean, cids: readonly string[] | undefined, mode: PurgeMode): Promise<PurgeReport> {
    const { purge, forbidStore, clock, purged: tell } = this.#options
    const began = clock.monotonic()
    const purged = await purge({ matches, cids, staleSince: mode === 'soft' ? clock.now() : undefined, forbid: () => { forbidStore(id => matches(cidOfId(id))) } })
    tell(mode, purged)
    if (this.#closed) throw new RelayError('RELAY_ERR_STOPPING', `the relay is stopping; ${purged} objects were purged before`)
    return { purged, ms: Math.round(clock.monotonic() - began) }
  }
}
