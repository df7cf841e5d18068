import { LRUCache } from 'lru-cache'
import { RelayError } from '../../base/errors.ts'
import { keyId, type ShardKey } from '../../protocol/shard-key.ts'
import type { ExpectedObject } from '../integrity/integrity.ts'
import type { CacheEntry } from '../shard-cache/cache-entry.ts'
import type { ExpiredOutcome, StaleKeeper } from '../shards/expired-object.ts'
import type { QuietFill } from '../shards/running-fill.ts'

/** What became of a stale object: `fresh`, super-nodes have the same bytes; `replaced`, they have others; `gone`, they have none; `failed`, nobody knows, and it stays stale. */
export const REVALIDATIONS = ['fresh', 'replaced', 'gone', 'failed'] as const
export type Revalidation = (typeof REVALIDATIONS)[number]

export interface RevalidatorOptions {
  /** The entry of an object, without counting as a use of it. */
  readonly peek: (id: string) => CacheEntry | undefined
  readonly isStale: (entry: CacheEntry) => boolean
  /** A believed manifest that super-nodes had so many ms ago says that an entry is what it must be. */
  readonly renew: (entry: CacheEntry, ageMs: number) => void
  readonly evict: (id: string) => void
  /** Purges begun so far: what was asked before one says nothing of what is there after it. */
  readonly purges: () => number
  /** What a believed manifest says of an object that is no older than the object may be, and its age, once super-nodes had time to send one; undefined when none is believed. */
  readonly expects: (key: ShardKey, via: readonly string[]) => Promise<ExpectedObject & { readonly ageMs: number } | undefined>
  /** Begins to fetch an object again; undefined while it is being fetched already. @throws RelayError */
  readonly refetch: (key: ShardKey) => QuietFill | undefined
  /** Whether background work is allowed. */
  readonly mayBegin: () => boolean
  /** ms, monotonic. */
  readonly now: () => number
  /** In [0, 1). */
  readonly random: () => number
  readonly observer: {
    revalidated (outcome: Revalidation): void
    expired (outcome: ExpiredOutcome): void
    /** An object was served although it is stale. */
    stale (): void
  }
}

/** Stale objects that are looked at at the same time: of the fills there may be, a small part. */
export const MAX_REVALIDATIONS = 4
/** Stale objects that wait for it; of others, the next request asks again. */
export const MAX_WAITING_REVALIDATIONS = 1_000
/** Failures that are remembered. */
const MAX_FAILURES = 10_000
/** First pause after a failure, ms; it doubles with each, up to the other. */
export const RETRY_FIRST_MS = 1_000
export const RETRY_MOST_MS = 300_000

/**
 * Stale objects are fetched again, or compared with a manifest that is asked for anew, beside the viewers who get them meanwhile: each once, whoever asks for it.
 * What fails is tried again when somebody asks for the object after a pause.
 */
export class Revalidator implements StaleKeeper {
  readonly #options: RevalidatorOptions
  readonly #waiting = new Map<string, ShardKey>()
  readonly #running = new Set<string>()
  readonly #failures = new LRUCache<string, { readonly count: number, readonly notBefore: number }>({ max: MAX_FAILURES })
  #closed = false

  constructor (options: RevalidatorOptions) {
    this.#options = options
  }

  get running (): number { return this.#running.size }
  get waiting (): number { return this.#waiting.size }

  /** Somebody was given an object although it is stale. */
  used (key: ShardKey): void {
    const { mayBegin, observer } = this.#options
    observer.stale()
    const id = keyId(key)
    if (this.#closed || !mayBegin() || this.#running.has(id) || this.#waiting.has(id) || this.#waiting.size >= MAX_WAITING_REVALIDATIONS) return
    if (this.pauses(key)) return
    this.#waiting.set(id, key)
    this.#next()
  }

  pauses (key: ShardKey): boolean {
    return this.#options.now() < (this.#failures.get(keyId(key))?.notBefore ?? -Infinity)
  }

  async renewed (key: ShardKey, sha256: string, via: readonly string[]): Promise<number | undefined> {
    const { peek, observer } = this.#options
    const entry = peek(keyId(key))
    if (this.#closed || entry?.sha256 !== sha256 || await this.#compare(key, entry.serial, via).catch(() => undefined) !== 'fresh') return undefined
    this.#failures.delete(keyId(key))
    observer.expired('same')
    return peek(keyId(key))?.storedAt
  }

  ended (key: ShardKey, outcome: ExpiredOutcome, error?: RelayError): void {
    const { observer, peek, isStale, evict } = this.#options
    const id = keyId(key)
    const entry = peek(id)
    observer.expired(outcome)
    if (error === undefined) this.#failures.delete(id)
    else if (error.code !== 'RELAY_ERR_SHARD_NOT_FOUND') this.#failed(id)
    else if (entry !== undefined && isStale(entry)) evict(id)
  }

  /** Begins nothing more; what is under way ends with the fills of the relay. */
  close (): void {
    this.#closed = true
    this.#waiting.clear()
  }

  #next (): void {
    for (const [id, key] of this.#waiting) {
      if (this.#running.size >= MAX_REVALIDATIONS) return
      this.#waiting.delete(id)
      // While load is high it stays stale, until somebody asks again.
      if (!this.#options.mayBegin()) continue
      this.#running.add(id)
      void this.#run(id, key).finally(() => {
        this.#running.delete(id)
        this.#next()
      })
    }
  }

  async #run (id: string, key: ShardKey): Promise<void> {
    const { observer } = this.#options
    let outcome: Revalidation | undefined
    try {
      outcome = await this.#revalidate(id, key)
    } catch {
      outcome = 'failed'
    }
    if (outcome === undefined || this.#closed) return
    observer.revalidated(outcome)
    if (outcome === 'failed') this.#failed(id)
    else this.#failures.delete(id)
  }

  /** @returns undefined when it is none of ours any more @throws RelayError what fetching throws */
  async #revalidate (id: string, key: ShardKey): Promise<Revalidation | undefined> {
    const { peek, isStale, evict, purges, refetch } = this.#options
    const begun = purges()
    const serial = peek(id)?.serial
    const compared = await this.#compare(key, serial, [])
    if (compared !== 'differs') return compared
    try {
      const fill = refetch(key)
      if (fill === undefined) return undefined
      await fill.complete()
      await fill.finished
    } catch (error) {
      if (!(error instanceof RelayError) || error.code !== 'RELAY_ERR_SHARD_NOT_FOUND') throw error
      if (this.#staleEntry(id, serial) === undefined || purges() !== begun) return undefined
      evict(id)
      return 'gone'
    }
    const after = peek(id)
    if (after === undefined || isStale(after)) return 'failed'
    return after.serial === serial ? 'fresh' : 'replaced'
  }

  /** Asks for the manifest, anew where need be. @returns undefined when the entry has left or is fresh; `differs` also when no manifest is believed */
  async #compare (key: ShardKey, serial: number | undefined, via: readonly string[]): Promise<'fresh' | 'failed' | 'differs' | undefined> {
    const { renew, purges, expects } = this.#options
    const id = keyId(key)
    const begun = purges()
    if (this.#staleEntry(id, serial) === undefined) return undefined
    const right = await expects(key, via)
    const found = this.#staleEntry(id, serial)
    if (found === undefined) return undefined
    if (right?.size !== found.size || right.sha256 !== found.sha256) return 'differs'
    // It may be from before the purge.
    if (purges() !== begun) return 'failed'
    renew(found, right.ageMs)
    return 'fresh'
  }

  /** The entry with that number; undefined when it has left or is fresh. */
  #staleEntry (id: string, serial: number | undefined): CacheEntry | undefined {
    const entry = this.#options.peek(id)
    return entry?.serial === serial && entry !== undefined && this.#options.isStale(entry) ? entry : undefined
  }

  #failed (id: string): void {
    const { now, random } = this.#options
    const count = (this.#failures.get(id)?.count ?? 0) + 1
    const pause = Math.min(RETRY_MOST_MS, RETRY_FIRST_MS * 2 ** Math.min(count - 1, 20))
    this.#failures.set(id, { count, notBefore: now() + pause * (0.75 + random() / 2) })
  }
}
