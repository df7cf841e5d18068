/*
 * How long an object holds that may change under its address, in the terms of RFC 9111 §4.2 and RFC 5861. Without a lifetime it never changes (RFC 8246).
 */

/** How long an object holds after a super-node sent it, and how much longer it may be served; ms. */
export interface Lifetime {
  /** A whole second at least. */
  readonly ttlMs: number
  /** After `ttlMs`: served immediately, while it is asked for anew (RFC 5861 §3). */
  readonly staleWhileRevalidateMs: number
  /** After `ttlMs`: served when it was asked for anew, and that failed (RFC 5861 §4). */
  readonly staleIfErrorMs: number
}

/** `stale`: it is served, and asked for anew beside. `expired`: it is asked for anew first. */
export type FreshnessStanding = 'fresh' | 'stale' | 'expired'

export interface Freshness {
  readonly standing: FreshnessStanding
  /** Until it is stale, ms; since then, negative or 0. */
  readonly ttlMs: number
  /** Whether it may be served when asking for it fails. */
  readonly ifError: boolean
}

/**
 * How an object stands. Of a clock that was set back before the time it was stored at, its age is 0: so it is never fresh for longer than its lifetime from when it is looked at.
 * @param storedAt when a super-node sent it, and `now`, ms of the same clock
 */
export function freshnessOf (storedAt: number, { ttlMs, staleWhileRevalidateMs, staleIfErrorMs }: Lifetime, now: number): Freshness {
  const left = ttlMs - Math.max(0, now - storedAt)
  const standing = left > 0 ? 'fresh' : -left < staleWhileRevalidateMs ? 'stale' : 'expired'
  return { standing, ttlMs: left, ifError: left > 0 || -left < staleIfErrorMs }
}

/** Seconds as fields have them: whole ones. */
const seconds = (ms: number): string => String(Math.floor(ms / 1_000))

/** The members of `cache-control` that say so to whoever keeps the object; `age` says how much of it is over. */
export function lifetimeMembers ({ ttlMs, staleWhileRevalidateMs, staleIfErrorMs }: Lifetime): string {
  const more = [['stale-while-revalidate', staleWhileRevalidateMs], ['stale-if-error', staleIfErrorMs]] as const
  return [`max-age=${seconds(ttlMs)}`, ...more.flatMap(([name, ms]) => ms < 1_000 ? [] : [`${name}=${seconds(ms)}`])].join(', ')
}
