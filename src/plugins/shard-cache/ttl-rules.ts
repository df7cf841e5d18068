import type { Config } from '../../config/schema.ts'
import { mediaTypeOf, type MediaType } from '../../protocol/answer.ts'
import type { Lifetime } from '../../protocol/freshness.ts'
import type { ShardKey } from '../../protocol/shard-key.ts'

/** A rule as it is configured. */
export type TtlRule = Config['cache']['ttl'][number]

interface Rule {
  readonly prefix: string
  readonly mediaType: MediaType | undefined
  readonly tag: string | undefined
  /** Undefined for what never changes. */
  readonly lifetime: Lifetime | undefined
}

/** How long objects are fresh, by class: of the rules that fit, the first counts. */
export class TtlRules {
  readonly #rules: readonly Rule[]

  constructor (rules: readonly TtlRule[]) {
    this.#rules = rules.map(ruleOf)
  }

  /** @param tagsOf asked at most once, and only where the answer depends on tags */
  lifetimeOf (key: ShardKey, tagsOf: () => readonly string[]): Lifetime | undefined {
    let tags: readonly string[] | undefined
    for (const { prefix, mediaType, tag, lifetime } of this.#rules) {
      if (!key.cid.startsWith(prefix) || (mediaType !== undefined && mediaType !== mediaTypeOf(key.part))) continue
      if (tag === undefined || (tags ??= tagsOf()).includes(tag)) return lifetime
    }
    return undefined
  }
}

function ruleOf ({ cid_prefix: prefix = '', tag, media_type: mediaType, ttl_ms: ttlMs, stale_while_revalidate_ms: staleWhileRevalidateMs = 0, stale_if_error_ms: staleIfErrorMs = 0 }: TtlRule): Rule {
  return { prefix, mediaType, tag, lifetime: ttlMs === undefined ? undefined : { ttlMs, staleWhileRevalidateMs, staleIfErrorMs } }
}
