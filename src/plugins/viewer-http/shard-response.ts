import type { IncomingHttpHeaders } from 'node:http'
import { RelayError } from '../../base/errors.ts'
import { ifRangeMatches, matchesIfNoneMatch } from '../../protocol/conditional.ts'
import { contentRange, parseRangeHeader, resolveRange, unsatisfiedContentRange, type ByteRange } from '../../protocol/range.ts'
import { formatReprDigest } from '../../protocol/repr-digest.ts'
import type { OpenShard, Origin } from '../shards/shard-service.ts'

/** How an object is answered: the bytes to send, or none for 304 and HEAD. */
export interface ResponsePlan {
  readonly status: 200 | 206 | 304
  readonly headers: Readonly<Record<string, string>>
  readonly body: ByteRange | undefined
}

/** One year, the longest lifetime RFC 9111 caches agree on; a shard never changes. */
const IMMUTABLE = 'public, max-age=31536000, immutable'

/** `Cache-Status` (RFC 9211): a hit, or forwarded because nothing was stored under the key; whether this answer gets stored is not known yet. */
export function cacheStatus (origin: Origin): string {
  if (origin.hit) return 'icn-relay; hit'
  return origin.collapsed ? 'icn-relay; fwd=uri-miss; collapsed' : 'icn-relay; fwd=uri-miss'
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

/**
 * Decides status, headers and bytes of the answer, preconditions first (RFC 9110 §13.2.2).
 * @param openMs time the object took to open, ms
 * @param now wall clock, ms since the epoch
 * @throws RelayError RELAY_ERR_RANGE_SYNTAX, RELAY_ERR_RANGE_UNSATISFIABLE
 */
export function planResponse (method: string, request: IncomingHttpHeaders, shard: OpenShard, openMs: number, now: number): ResponsePlan {
  const etag = shard.sha256 === undefined ? undefined : `"sha256-${shard.sha256}"`
  const headers: Record<string, string> = {
    'cache-control': shard.lasting ? IMMUTABLE : 'no-store',
    'cache-status': cacheStatus(shard.origin),
    'server-timing': serverTiming(shard.origin, openMs)
  }
  if (shard.origin.hit) headers['age'] = String(ageSeconds(shard.origin.storedAt, now))
  if (etag !== undefined) headers['etag'] = etag
  const ifNoneMatch = request['if-none-match']
  if (ifNoneMatch !== undefined && etag !== undefined && matchesIfNoneMatch(ifNoneMatch, etag)) return { status: 304, headers, body: undefined }
  headers['accept-ranges'] = 'bytes'
  headers['content-type'] = shard.key.part === 'manifest' ? 'application/json' : 'application/octet-stream'
  if (shard.sha256 !== undefined) headers['repr-digest'] = formatReprDigest(shard.sha256)
  // Range has a meaning for GET only (RFC 9110 §14.2).
  const spec = method === 'GET' ? parseRangeHeader(request.range) : undefined
  const ifRange = request['if-range']
  const ranged = spec !== undefined && (typeof ifRange !== 'string' || (etag !== undefined && ifRangeMatches(ifRange, etag)))
  if (!ranged) {
    headers['content-length'] = String(shard.size)
    return { status: 200, headers, body: method === 'HEAD' ? undefined : { start: 0, end: shard.size } }
  }
  const range = resolveRange(spec, shard.size)
  headers['content-length'] = String(range.end - range.start)
  headers['content-range'] = contentRange(range, shard.size)
  return { status: 206, headers, body: range }
}

/** Headers a 416 carries besides the problem document. */
export function unsatisfiedHeaders (error: unknown, size: number): Record<string, string> {
  return error instanceof RelayError && error.status === 416 ? { 'content-range': unsatisfiedContentRange(size) } : {}
}
