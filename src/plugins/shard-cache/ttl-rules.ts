import type { Config } from '../../config/schema.ts'
import { mediaTypeOf } from '../../protocol/answer.ts'
import type { Lifetime } from '../../protocol/freshness.ts'
import type { ShardKey } from '../../protocol/shard-key.ts'

/** A rule as it is configured. */
export type TtlRule = Config['cache']['ttl'][number]

interface Rule {
  readonly fits: (key: ShardKey, tagsOf: () => readonly string[]) => boolean
  /** Undefined for what never changes. */
  readonly lifetime: Lifetime | undefined
}

/** How long objects are fresh, by class: of the rules that fit, the first counts. */
export class TtlRules {
  readonly #rules: readonly Rule[]

  constructor (rules: readonly TtlRule[]) {
    this.#rules = rules.map(ruleOf)
  }

  /** @param tagsOf asked only where the answer depends on tags */
  lifetimeOf (key: ShardKey, tagsOf: () => readonly string[]): Lifetime | undefined {
    for (const { fits, lifetime } of this.#rules) if (fits(key, tagsOf)) return lifetime
    return undefined
  }
}

function ruleOf ({ cid_prefix: prefix = '', tag, media_type: mediaType, ttl_ms: ttlMs, stale_while_revalidate_ms: staleWhileRevalidateMs = 0, stale_if_error_ms: staleIfErrorMs = 0 }: TtlRule): Rule {
  return {
    fits: (key, tagsOf) => key.cid.startsWith(prefix) && (mediaType === undefined || mediaType === mediaTypeOf(key.part)) && (tag === undefined || tagsOf().includes(tag)),
    lifetime: ttlMs === undefined ? undefined : { ttlMs, staleWhileRevalidateMs, staleIfErrorMs }
  }
}
