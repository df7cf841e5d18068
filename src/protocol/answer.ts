import type { RelayError } from '../base/errors.ts'
import { ifRangeMatches, matchesIfNoneMatch } from './conditional.ts'
import { contentRange, resolveRange, unsatisfiedContentRange, type ByteRange, type RangeSpec } from './range.ts'
import { formatReprDigest } from './repr-digest.ts'
import type { RequestField } from './request-fields.ts'
import type { ObjectPart } from './shard-key.ts'

/*
 * What a request for an object is answered with, on every transport: HTTP and sessions only encode it.
 */

/** Where an object came from; the text of `cache-status` and the labels of metrics follow from it. */
export type Origin =
  /** @prop storedAt milliseconds since the Unix epoch @prop staleSince the same; undefined for what is fresh */
  | { readonly hit: true, readonly tier: 'disk' | 'ram', readonly storedAt: number, readonly staleSince?: number | undefined }
  | { readonly hit: false, readonly collapsed: boolean, readonly region: string, readonly node: string, readonly headMs: number }

/** What is known of an object before its body. */
export interface ObjectFacts {
  /** Bytes of the whole object. */
  readonly size: number
  /** Lower-case hex; undefined while a fill has not been verified yet. */
  readonly sha256: string | undefined
  /** Whether something vouches for the bytes: a believed manifest, or their sender where that is configured to be enough. */
  readonly verified: boolean
  /** False for what may not be kept by anybody. */
  readonly lasting: boolean
  readonly origin: Origin
}

/** What of a request matters for its answer. */
export interface ObjectRequest {
  readonly method: 'GET' | 'HEAD'
  readonly part: ObjectPart
  /** Undefined without a range. */
  readonly range: RangeSpec | undefined
  /** A field as it was sent; undefined without it. */
  readonly field: (name: RequestField) => string | undefined
}

export interface AnswerContext {
  /** Wall clock, ms since the epoch. */
  readonly now: number
  /** Time the object took to open, ms. */
  readonly openMs: number
  /** Whether viewers need a token: then no shared cache may keep what one was given (RFC 9111 §3.5). */
  readonly tokenRequired: boolean
}

/** Name, in lower case, and value. */
export type Field = readonly [name: string, value: string]

/** Status and fields, and the bytes of the object to send, if any. */
export interface Answer {
  readonly status: 200 | 206 | 304
  readonly fields: readonly Field[]
  readonly body: ByteRange | undefined
}

/** The longest lifetime RFC 9111 caches agree on, a year; a shard never changes under its address (RFC 8246). */
const IMMUTABLE = 'max-age=31536000, immutable'

/** For bytes that nothing vouches for: long enough for the crowd of a moment, short enough to be mended soon. */
const BRIEF = 'max-age=60'

/** For what is stale and served while it is fetched again (RFC 9111 §4.2.4): whoever keeps it asks again. */
const STALE = 'max-age=0, must-revalidate'

/** What a cache has done, in the words of RFC 9211: a hit, or forwarded because nothing was stored under the key; whether this answer gets stored is not known yet. */
export function cacheWords (origin: Origin): 'hit' | 'fwd=uri-miss' | 'fwd=uri-miss; collapsed' {
  if (origin.hit) return 'hit'
  return origin.collapsed ? 'fwd=uri-miss; collapsed' : 'fwd=uri-miss'
}

/** `Cache-Status` (RFC 9211), of a hit that is stale with how long it has been (§2.6). */
export function cacheStatus (origin: Origin, now: number): string {
  const stale = origin.hit && origin.staleSince !== undefined ? `; ttl=-${Math.max(1, ageSeconds(origin.staleSince, now))}` : ''
  return `icn-relay; ${cacheWords(origin)}${stale}`
}

/** `Server-Timing`: which tier answered and how long opening took, ms. */
export function serverTiming (origin: Origin, openMs: number): string {
  const open = `open;dur=${openMs.toFixed(2)}`
  if (origin.hit) return `cache;desc="hit ${origin.tier}", ${open}`
  return `cache;desc="miss${origin.collapsed ? ' collapsed' : ''}", upstream;desc="${origin.region}";dur=${origin.headMs.toFixed(2)}, ${open}`
}

/** `Age` (RFC 9111 §5.1) of a hit: whole seconds since a super-node sent it; a clock that was set back makes it 0. */
export function ageSeconds (storedAt: number, now: number): number {
  return Math.max(0, Math.floor((now - storedAt) / 1_000))
}

/** The entity-tag of an object, with its quotes. */
export function etagOf (sha256: string): string {
  return `"sha256-${sha256}"`
}

/**
 * Decides status, fields and bytes of the answer, preconditions first (RFC 9110 §13.2.2).
 * @throws RelayError RELAY_ERR_RANGE_UNSATISFIABLE; {@link unsatisfiedField} goes with its answer
 */
export function planAnswer (request: ObjectRequest, { size, sha256: digest, verified, lasting, origin }: ObjectFacts, { now, openMs, tokenRequired }: AnswerContext): Answer {
  const { method, part, field } = request
  const ifNoneMatch = field('if-none-match')
  const ifRange = field('if-range')
  // What nobody vouches for is not named by a digest either: it would look like an attestation.
  const sha256 = verified ? digest : undefined
  const isStale = origin.hit && origin.staleSince !== undefined
  const etag = sha256 === undefined ? undefined : etagOf(sha256)
  const fields: Field[] = [
    ['cache-control', lasting ? `${tokenRequired ? 'private' : 'public'}, ${isStale ? STALE : verified ? IMMUTABLE : BRIEF}` : 'no-store'],
    ['cache-status', cacheStatus(origin, now)],
    ['server-timing', serverTiming(origin, openMs)]
  ]
  if (origin.hit) fields.push(['age', String(ageSeconds(origin.storedAt, now))])
  if (etag !== undefined) fields.push(['etag', etag])
  if (ifNoneMatch !== undefined && etag !== undefined && matchesIfNoneMatch(ifNoneMatch, etag)) return { status: 304, fields, body: undefined }
  fields.push(['accept-ranges', 'bytes'], ['content-type', part === 'manifest' ? 'application/json' : 'application/octet-stream'])
  if (sha256 !== undefined) fields.push(['repr-digest', formatReprDigest(sha256)])
  const wanted = ifRange === undefined || (etag !== undefined && ifRangeMatches(ifRange, etag)) ? request.range : undefined
  const range = wanted === undefined ? { start: 0, end: size } : resolveRange(wanted, size)
  fields.push(['content-length', String(range.end - range.start)])
  if (wanted !== undefined) fields.push(['content-range', contentRange(range, size)])
  return { status: wanted === undefined ? 200 : 206, fields, body: method === 'HEAD' ? undefined : range }
}

/** How large the object is whose range cannot be had (RFC 9110 §15.5.17). */
export function unsatisfiedField (size: number): Field {
  return ['content-range', unsatisfiedContentRange(size)]
}

/** Statuses that say when to come back (RFC 9110 §10.2.3, RFC 6585 §4); a second is the upper end of a fail-over. */
const COME_BACK: ReadonlySet<number> = new Set([429, 502, 503])
const COME_BACK_SECONDS = 1

/** The fields of an answer that is an error, besides those of its body. */
export function problemFields (error: RelayError): Field[] {
  const fields: Field[] = [['cache-control', 'no-store']]
  // RFC 9110 §15.5.2: a 401 says how to authenticate.
  const challenge = error.challenge ?? (error.status === 401 ? 'Bearer' : undefined)
  if (challenge !== undefined) fields.push(['www-authenticate', challenge])
  const seconds = error.retryAfterSeconds ?? (COME_BACK.has(error.status) ? COME_BACK_SECONDS : undefined)
  if (seconds !== undefined) fields.push(['retry-after', String(seconds)])
  return fields
}
