import type { AddressBuckets } from '../../admission/address-buckets.ts'

/** A store as @fastify/rate-limit wants it: `current` above the limit refuses, `ttl` in milliseconds. */
export interface RequestStore {
  incr (key: string, callback: (error: Error | null, result?: { current: number, ttl: number }) => void): void
  child (): RequestStore
}

/**
 * Token buckets behind the interface of @fastify/rate-limit, whose own store counts in fixed windows and lets twice the
 * number through around their borders. `ttl` is the time until the bucket is full, or for who is refused until the next token.
 * @param limit tokens of a full bucket, in force now
 */
export function requestStore (buckets: AddressBuckets, limit: () => number, monotonic: () => number): new () => RequestStore {
  return class Store implements RequestStore {
    incr (key: string, callback: (error: Error | null, result?: { current: number, ttl: number }) => void): void {
      const now = monotonic()
      if (!buckets.allows(key, now)) {
        callback(null, { current: limit() + 1, ttl: buckets.waitMs(key, now) })
        return
      }
      buckets.spend(key, now)
      const current = buckets.missing(key, now)
      callback(null, { current, ttl: current * 1_000 / limit() })
    }

    child (): RequestStore { return this }
  }
}
