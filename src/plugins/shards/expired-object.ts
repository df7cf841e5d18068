import { RelayError } from '../../base/errors.ts'
import type { ShardKey } from '../../protocol/shard-key.ts'
import { cameFromRelay } from '../upstream/tiers.ts'
import type { Integrity } from '../integrity/integrity.ts'
import type { CachedObject } from '../shard-cache/shard-cache.ts'
import { fromCache, type OpenOptions, type OpenSource } from './open-shard.ts'

/** What became of a request for an object whose time was over: super-nodes have the `same`, it was `fetched`, or that failed, and it was served `stale` or not at all. */
export type ExpiredOutcome = 'same' | 'fetched' | 'stale' | 'failed'

/** Who looks after objects that are not fresh any more; nothing of it may throw. */
export interface StaleKeeper {
  /** Somebody was given one although it is stale. */
  used (key: ShardKey): void
  /** Whether asking for it has failed a moment ago, so that who may have it stale need not wait for the next failure. */
  pauses (key: ShardKey): boolean
  /**
   * Whether super-nodes have the same bytes still, by a manifest that is asked for where the one that is known is too old.
   * @param via members of the request
   * @returns when they had them, ms since the epoch; undefined when nobody says so
   */
  renewed (key: ShardKey, sha256: string, via: readonly string[]): Promise<number | undefined>
  /** A request for one whose time was over has got something, or `error`. */
  ended (key: ShardKey, outcome: Exclude<ExpiredOutcome, 'same'>, error?: RelayError): void
}

export const NO_KEEPER: StaleKeeper = { used: () => {}, pauses: () => false, renewed: async () => undefined, ended: () => {} }

/** What RFC 5861 §4 calls an error. */
const ERRORS: ReadonlySet<number> = new Set([500, 502, 503, 504])

/** What the cache has and may not give to anybody any more, held by one request while the object is asked for anew, in case that fails. */
export class ExpiredObject {
  readonly #key: ShardKey
  readonly #via: readonly string[]
  readonly #onlyIfCached: boolean
  readonly #keeper: StaleKeeper
  readonly #integrity: Pick<Integrity, 'used'> | undefined
  #held: CachedObject | undefined
  #was = false

  constructor (key: ShardKey, { via = [], onlyIfCached = false }: Pick<OpenOptions, 'via' | 'onlyIfCached'>, keeper: StaleKeeper, integrity: Pick<Integrity, 'used'> | undefined) {
    this.#key = key
    this.#via = via
    this.#onlyIfCached = onlyIfCached
    this.#keeper = keeper
    this.#integrity = integrity
  }

  /**
   * Takes an object over.
   * @returns it, if super-nodes have the same still, or have failed a moment ago and it may be served because of that
   */
  async hold (cached: CachedObject): Promise<OpenSource | undefined> {
    const first = !this.#was
    this.release()
    this.#held = cached
    this.#was = true
    if (!first || this.#onlyIfCached) return undefined
    if (cached.ifError && this.#keeper.pauses(this.#key)) return this.#give()
    const storedAt = await this.#keeper.renewed(this.#key, cached.sha256, this.#via)
    if (storedAt === undefined) return undefined
    this.#held = { ...cached, storedAt, staleSince: 0, standing: 'fresh', verified: true }
    return this.#give({ failed: undefined })
  }

  /** Where the object came from in the end. */
  found (source: OpenSource): OpenSource {
    if (!this.#was || source.origin.hit) return source
    this.#keeper.ended(this.#key, 'fetched')
    return { ...source, origin: { ...source.origin, expired: true } }
  }

  /** @returns what is served although the object cannot be had. @throws the error, when nothing is */
  insteadOf (error: unknown): OpenSource {
    // Nobody was asked, so nobody has failed.
    if (!this.#was || this.#onlyIfCached || !(error instanceof RelayError)) throw error
    const serves = this.#held?.ifError === true && ERRORS.has(error.status)
    this.#keeper.ended(this.#key, serves ? 'stale' : 'failed', error)
    const source = serves ? this.#give({ failed: error.code }) : undefined
    if (source === undefined) throw error
    return source
  }

  release (): void {
    this.#held?.release()
    this.#held = undefined
  }

  /** @param forwarded set when super-nodes were asked */
  #give (forwarded?: Parameters<typeof fromCache>[4]): OpenSource | undefined {
    const held = this.#held
    this.#held = undefined
    return held === undefined ? undefined : fromCache(this.#key, held, this.#integrity, cameFromRelay(this.#via), forwarded)
  }
}
