import { freshnessOf, type Lifetime } from '../../protocol/freshness.ts'
import { parseKeyId, type ShardKey } from '../../protocol/shard-key.ts'
import type { CacheEntry } from './cache-entry.ts'
import type { Usability } from './cached-object.ts'
import type { EntryTable } from './entry-table.ts'
import { TtlRules } from './ttl-rules.ts'

export interface EntryFreshnessOptions {
  /** How long objects are fresh; for ever by default. */
  readonly ttl?: TtlRules | undefined
  /** How long what a soft purge has marked is served at most, ms; for ever by default. */
  readonly maxStaleMs?: number | undefined
  /** Wall clock, ms since the epoch. */
  readonly now: () => number
}

const FOR_EVER: Usability = { lifetime: undefined, standing: 'fresh', ifError: true }
const STALE: Usability = { ...FOR_EVER, standing: 'stale' }

/** How entries may be used, by the rules in force and by what soft purges have marked. */
export class EntryFreshness {
  /** In force from now on, also for what is there. */
  ttl: TtlRules
  readonly #table: EntryTable
  readonly #maxStaleMs: number
  readonly #now: () => number

  constructor (table: EntryTable, { ttl = new TtlRules([]), maxStaleMs = Infinity, now }: EntryFreshnessOptions) {
    this.#table = table
    this.ttl = ttl
    this.#maxStaleMs = maxStaleMs
    this.#now = now
  }

  /** How long an object is fresh, wherever it comes from; undefined when it never changes. */
  lifetimeOf (key: ShardKey): Lifetime | undefined {
    return this.ttl.lifetimeOf(key, () => [...this.#table.tagsOf(key.cid), ...this.#table.tagPlaces.source(key.cid)])
  }

  /** How an entry may be used; one that was stored in the future, by a clock that was set back since, was stored now. */
  of (entry: CacheEntry, key = parseKeyId(entry.id)): Usability {
    // What its CID is tagged with was asked when the first of its objects came in: not for each hit.
    const lifetime = key === undefined ? undefined : this.ttl.lifetimeOf(key, () => this.#table.tagsOf(key.cid))
    if (lifetime === undefined) return entry.staleSince === 0 ? FOR_EVER : STALE
    const now = this.#now()
    if (entry.storedAt > now) entry.storedAt = now
    const { standing, ifError } = freshnessOf(entry.storedAt, lifetime, now)
    return { lifetime, standing: standing === 'fresh' && entry.staleSince > 0 ? 'stale' : standing, ifError }
  }

  isStale (entry: CacheEntry): boolean {
    return this.of(entry).standing !== 'fresh'
  }

  /** Whether a soft purge was so long ago that it is not served any more. */
  isOver ({ staleSince }: CacheEntry): boolean {
    return staleSince > 0 && this.#now() - staleSince >= this.#maxStaleMs
  }
}
