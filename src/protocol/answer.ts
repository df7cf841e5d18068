import type { ErrorCode, RelayError } from '../base/errors.ts'
import { ifRangeMatches, matchesIfNoneMatch } from './conditional.ts'
import { freshnessOf, lifetimeMembers, type Lifetime } from './freshness.ts'
import { contentRange, resolveRange, unsatisfiedContentRange, type ByteRange, type RangeSpec } from './range.ts'
import { formatReprDigest } from './repr-digest.ts'
import type { RequestField } from './request-fields.ts'
import type { ObjectPart } from './shard-key.ts'

/*
 * What a request for an object is answered with, on every transport: HTTP and sessions only encode it.
 */

/** Where an object came from; the text of `cache-status` and the labels of metrics follow from it. */
export type Origin =
  /**
   * @prop storedAt milliseconds since the Unix epoch
   * @prop staleSince the same; undefined unless a soft purge asked for it to be fetched again
   * @prop forwarded set when its time was over and super-nodes were asked first: they have the same, or `failed` says why nobody knows
   */
  | { readonly hit: true, readonly tier: 'disk' | 'ram', readonly storedAt: number, readonly staleSince?: number | undefined, readonly forwarded?: { readonly failed: ErrorCode | undefined } | undefined }
  /** @prop ageMs how old it was when it was sent, 0 by default @prop expired whether the cache had one whose time was over */
  | { readonly hit: false, readonly collapsed: boolean, readonly region: string, readonly node: string, readonly headMs: number, readonly ageMs?: number | undefined, readonly expired?: boolean | undefined }

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
  /** How long it holds; undefined for what never changes. */
  readonly lifetime?: Lifetime | undefined
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

/** For bytes that nothing vouches for, seconds: long enough for the crowd of a moment, short enough to be mended soon. */
const BRIEF_SECONDS = 60

/** For what is stale and served while it is fetched again (RFC 9111 §4.2.4): whoever keeps it asks again. */
const STALE = 'max-age=0, must-revalidate'

/** The `cache-control` of an object: for how long, and by whom, it may be kept. */
function cacheControl ({ verified, lasting, lifetime, origin }: ObjectFacts, tokenRequired: boolean): string {
  if (!lasting) return 'no-store'
  const who = tokenRequired ? 'private' : 'public'
  if (origin.hit && origin.staleSince !== undefined) return `${who}, ${STALE}`
  if (!verified) return `${who}, max-age=${Math.min(BRIEF_SECONDS, Math.floor((lifetime?.ttlMs ?? Infinity) / 1_000))}`
  return `${who}, ${lifetime === undefined ? IMMUTABLE : lifetimeMembers(lifetime)}`
}

/**
 * What a cache has done, in the words of RFC 9211: a hit, or forwarded, because nothing was stored under the key or because its time was over; whether this answer
 * gets stored is not known yet.
 */
export function cacheWords (origin: Origin): 'hit' | `fwd=${'uri-miss' | 'stale'}${'' | '; collapsed'}` {
  if (origin.hit) return origin.forwarded === undefined ? 'hit' : 'fwd=stale'
  const why = origin.expired === true ? 'fwd=stale' : 'fwd=uri-miss'
  return origin.collapsed ? `${why}; collapsed` : why
}

/** How long what the cache had is fresh yet, whole seconds (RFC 9211 §2.6): below 0 what is stale, and undefined for what never changes. */
function ttlSeconds (origin: Origin, lifetime: Lifetime | undefined, now: number): number | undefined {
  if (!origin.hit) return undefined
  if (origin.staleSince !== undefined) return -Math.max(1, ageSeconds(origin.staleSince, now))
  if (lifetime === undefined) return undefined
  const { ttlMs } = freshnessOf(origin.storedAt, lifetime, now)
  return ttlMs > 0 ? Math.floor(ttlMs / 1_000) : -Math.max(1, Math.floor(-ttlMs / 1_000))
}

/** `Cache-Status` (RFC 9211), of a hit that does not hold for ever with how long it does; `detail` is why it is served although nobody could be asked. */
export function cacheStatus (origin: Origin, lifetime: Lifetime | undefined, now: number): string {
  const ttl = ttlSeconds(origin, lifetime, now)
  const failed = origin.hit ? origin.forwarded?.failed : undefined
  return `icn-relay; ${cacheWords(origin)}${ttl === undefined ? '' : `; ttl=${ttl}`}${failed === undefined ? '' : `; detail=${failed}`}`
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

/** What objects are to HTTP. */
export const MEDIA_TYPES = ['application/json', 'application/octet-stream'] as const
export type MediaType = typeof MEDIA_TYPES[number]

/** The media type of a part: manifests are JSON. */
export function mediaTypeOf (part: ObjectPart): MediaType {
  return part === 'manifest' ? 'application/json' : 'application/octet-stream'
}

/** The entity-tag of an object, with its quotes. */
export function etagOf (sha256: string): string {
  return `"sha256-${sha256}"`
}

/**
 * Decides status, fields and bytes of the answer, preconditions first (RFC 9110 §13.2.2).
 * @throws RelayError RELAY_ERR_RANGE_UNSATISFIABLE; {@link unsatisfiedField} goes with its answer
 */
export function planAnswer (request: ObjectRequest, facts: ObjectFacts, { now, openMs, tokenRequired }: AnswerContext): Answer {
  const { method, part, field } = request
  const { size, sha256: digest, verified, lifetime, origin } = facts
  const ifNoneMatch = field('if-none-match')
  const ifRange = field('if-range')
  // What nobody vouches for is not named by a digest either: it would look like an attestation.
  const sha256 = verified ? digest : undefined
  const etag = sha256 === undefined ? undefined : etagOf(sha256)
  const fields: Field[] = [
    ['cache-control', cacheControl(facts, tokenRequired)],
    ['cache-status', cacheStatus(origin, lifetime, now)],
    ['server-timing', serverTiming(origin, openMs)]
  ]
  const age = origin.hit ? ageSeconds(origin.storedAt, now) : Math.floor((origin.ageMs ?? 0) / 1_000)
  if (origin.hit || age > 0) fields.push(['age', String(age)])
  if (etag !== undefined) fields.push(['etag', etag])
  if (ifNoneMatch !== undefined && etag !== undefined && matchesIfNoneMatch(ifNoneMatch, etag)) return { status: 304, fields, body: undefined }
  fields.push(['accept-ranges', 'bytes'], ['content-type', mediaTypeOf(part)])
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
