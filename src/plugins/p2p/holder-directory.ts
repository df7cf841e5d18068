import { LRUCache } from 'lru-cache'
import { abortable } from '../../base/abortable.ts'
import type { Clock, Timers } from '../../base/clock.ts'
import { deferred } from '../../base/deferred.ts'
import type { CidHolder } from '../../protocol/holder-record.ts'
import type { HolderSource } from '../upstream/holders.ts'
import type { KnownHolders } from './p2p-messages.ts'

export type LookupOutcome = 'found' | 'none' | 'refused' | 'timeout' | 'busy' | 'failed'

/** How a question ended: `refused`, only records that are not believed came. */
export type LookupEnd = 'asked' | 'refused' | 'failed'

export interface HolderDirectoryOptions {
  /** Asks peers; `found` is told of each believed record as it comes. Settles soon after the signal aborts, and never rejects. */
  readonly ask: (cid: string, signal: AbortSignal, found: (known: KnownHolders) => void) => Promise<LookupEnd>
  /** Whether the holder may be asked for anything. */
  readonly allows: (holder: CidHolder) => boolean
  /** Time peers have, ms. */
  readonly timeoutMs: number
  readonly clock: Clock
  readonly timers: Timers
  readonly observer: {
    looked (cid: string, outcome: LookupOutcome): void
    /** No holder of a record may be asked. */
    noneAllowed (cid: string): void
  }
}

/** CIDs whose holders are remembered: about 8 MB. */
export const MAX_KNOWN = 4_096
/** CIDs that nobody holds, or of which that could not be found out. */
export const MAX_UNKNOWN = 10_000
/** Questions under way; one more is not asked. */
export const MAX_LOOKUPS = 32
/** Time after which a CID is asked for again: who holds it, who does not, and what could not be found out, ms. */
export const KNOWN_MS = 600_000
export const NONE_MS = 30_000
export const FAILED_MS = 5_000

interface Entry {
  readonly holders: readonly CidHolder[]
  readonly issuedAt: number
  /** Monotonic ms. */
  readonly until: number
}

type Found = readonly CidHolder[] | undefined

/** Who holds which CID: each is asked for once, whoever needs it, and kept for a while. The first record that is believed counts until a newer one comes. */
export class HolderDirectory implements HolderSource {
  readonly #options: HolderDirectoryOptions
  /** What is over stays as long as there is room, so that an older record never takes the place of a newer one. */
  readonly #known = new LRUCache<string, Entry>({ max: MAX_KNOWN })
  readonly #unknown = new LRUCache<string, { readonly until: number, readonly found: Found }>({ max: MAX_UNKNOWN })
  readonly #asking = new Map<string, Promise<Found>>()
  /** Questions that still run, their answer given or not. */
  #running = 0
  readonly #ending = new AbortController()

  constructor (options: HolderDirectoryOptions) {
    this.#options = options
  }

  /** CIDs remembered with their holders. */
  get size (): number { return this.#known.size }
  /** Questions under way. */
  get asking (): number { return this.#running }

  known (cid: string): readonly CidHolder[] {
    const entry = this.#known.get(cid)
    return entry !== undefined && this.#options.clock.monotonic() < entry.until ? entry.holders : []
  }

  async find (cid: string, signal: AbortSignal): Promise<Found> {
    const known = this.known(cid)
    if (known.length > 0) return known
    const unknown = this.#unknown.get(cid)
    if (unknown !== undefined && this.#options.clock.monotonic() < unknown.until) return unknown.found
    let asking = this.#asking.get(cid)
    if (asking === undefined) {
      if (this.#running >= MAX_LOOKUPS || this.#ending.signal.aborted) {
        this.#options.observer.looked(cid, 'busy')
        return undefined
      }
      asking = this.#ask(cid).finally(() => { this.#asking.delete(cid) })
      this.#asking.set(cid, asking)
    }
    // It never fails: whoever leaves has found out nothing.
    return await abortable(asking, signal).catch(() => undefined)
  }

  close (): void {
    this.#ending.abort()
  }

  async #ask (cid: string): Promise<Found> {
    const { ask, timers, timeoutMs, observer, clock } = this.#options
    const answer = deferred<Found>()
    const abort = new AbortController()
    const end = (): void => { abort.abort() }
    let late = false
    const cancel = timers.after(timeoutMs, () => {
      late = true
      end()
    })
    this.#ending.signal.addEventListener('abort', end, { once: true })
    this.#running++
    let isFound = false
    const found = (known: KnownHolders): void => {
      const holders = this.#take(cid, known)
      if (holders.length === 0) return
      isFound = true
      answer.resolve(holders)
    }
    void ask(cid, abort.signal, found).catch(() => 'failed' as const).then(how => {
      cancel()
      this.#ending.signal.removeEventListener('abort', end)
      this.#running--
      const outcome = isFound ? 'found' : how === 'refused' ? how : late ? 'timeout' : how === 'failed' ? how : 'none'
      observer.looked(cid, outcome)
      if (isFound) return
      // Where only lies came, somebody else may know.
      const nobody = outcome === 'none' ? [] : undefined
      this.#unknown.set(cid, { found: nobody, until: clock.monotonic() + (outcome === 'none' ? NONE_MS : FAILED_MS) })
      answer.resolve(nobody)
    })
    return await answer.promise
  }

  /** Returns those that count from now on; none where a newer record is known, or none of them may be asked. */
  #take (cid: string, { holders, issuedAt, expiresAt = Infinity }: KnownHolders): readonly CidHolder[] {
    const { clock, allows, observer } = this.#options
    const before = this.#known.get(cid)
    if (before !== undefined && before.issuedAt > issuedAt) return this.known(cid)
    const allowed = holders.filter(allows)
    if (allowed.length === 0) observer.noneAllowed(cid)
    else this.#known.set(cid, { holders: allowed, issuedAt, until: clock.monotonic() + Math.min(KNOWN_MS, expiresAt - clock.now()) })
    return allowed
  }
}
