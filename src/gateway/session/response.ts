import { challengeOf } from '../../admission/verdict.ts'
import { RelayError, toProblem } from '../../base/errors.ts'
import { matchesIfNoneMatch, ifRangeMatches } from '../../protocol/conditional.ts'
import { encodeHead } from '../../protocol/message-head.ts'
import type { FieldLine } from '../../protocol/message-head.ts'
import { contentRange, resolveRange, unsatisfiedContentRange } from '../../protocol/range.ts'
import type { ByteRange, RangeSpec } from '../../protocol/range.ts'
import { formatReprDigest } from '../../protocol/repr-digest.ts'
import type { ObjectPart } from '../../protocol/shard-key.ts'
import type { ViewerRequest } from './request-codec.ts'
import type { ShardFacts } from './shard-source.ts'

/** A response ready to be sent: head, then an inline body or these bytes of the object. */
export interface ResponsePlan {
  readonly status: number
  readonly head: Uint8Array
  readonly inline: Uint8Array | undefined
  readonly range: ByteRange | undefined
}

const REASONS: Readonly<Record<number, string>> = {
  200: 'OK',
  206: 'Partial Content',
  304: 'Not Modified',
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  413: 'Content Too Large',
  416: 'Range Not Satisfiable',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  508: 'Loop Detected'
}

/** Statuses of HTTP that are not in the viewer contract, by the nearest that is: viewers switch over a closed list. */
const CONTRACT_STATUS: Readonly<Record<number, number>> = { 405: 400, 408: 400, 415: 400, 431: 413 }

/** One year, the longest `max-age` in use: a shard never changes under its address (RFC 8246). */
const IMMUTABLE = 'public, max-age=31536000, immutable'

function encode (status: number, fields: readonly FieldLine[]): Uint8Array {
  return encodeHead(`HTTP/1.1 ${status} ${REASONS[status] ?? 'Unknown'}`, fields)
}

function objectFields (facts: ShardFacts, part: ObjectPart): FieldLine[] {
  const fields: FieldLine[] = [
    ['content-type', part === 'manifest' ? 'application/json' : 'application/octet-stream'],
    ['accept-ranges', 'bytes'],
    ['cache-status', facts.cacheStatus],
    ['cache-control', facts.lasting ? IMMUTABLE : 'no-store']
  ]
  if (facts.age !== undefined) fields.push(['age', String(facts.age)])
  if (facts.sha256 !== undefined) {
    fields.push(['etag', etagOf(facts.sha256)], ['repr-digest', formatReprDigest(facts.sha256)])
  }
  return fields
}

/** The entity-tag of an object, with its quotes. */
export function etagOf (sha256: string): string {
  return `"sha256-${sha256}"`
}

/** The response to a request whose object was found; precedence of conditions by RFC 9110 §13.2.2. Never throws. */
export function planObject (request: ViewerRequest, spec: RangeSpec | undefined, facts: ShardFacts, part: ObjectPart): ResponsePlan {
  const etag = facts.sha256 === undefined ? undefined : etagOf(facts.sha256)
  const fields = objectFields(facts, part)
  const ifNoneMatch = request.fields.get('if-none-match')
  if (ifNoneMatch !== undefined && etag !== undefined && matchesIfNoneMatch(ifNoneMatch, etag)) {
    // RFC 9110 §8.6: the content-length of a 304 is the one a 200 would have had.
    return { status: 304, head: encode(304, [['content-length', String(facts.size)], ...fields]), inline: undefined, range: undefined }
  }
  const ifRange = request.fields.get('if-range')
  const wanted = ifRange === undefined || (etag !== undefined && ifRangeMatches(ifRange, etag)) ? spec : undefined
  let range: ByteRange = { start: 0, end: facts.size }
  try {
    if (wanted !== undefined) range = resolveRange(wanted, facts.size)
  } catch (error) {
    return planProblem(error, request.method, [['content-range', unsatisfiedContentRange(facts.size)], ['cache-status', facts.cacheStatus]])
  }
  const status = wanted === undefined ? 200 : 206
  if (wanted !== undefined) fields.push(['content-range', contentRange(range, facts.size)])
  const head = encode(status, [['content-length', String(range.end - range.start)], ...fields])
  const empty = request.method === 'HEAD' || range.start === range.end
  return { status, head, inline: undefined, range: empty ? undefined : range }
}

/** The response to a request that failed: problem+json (RFC 9457) with a status of the viewer contract. Never throws. */
export function planProblem (error: unknown, method: 'GET' | 'HEAD' = 'GET', extra: readonly FieldLine[] = []): ResponsePlan {
  const problem = toProblem(error)
  const status = CONTRACT_STATUS[problem.status] ?? problem.status
  const body = new TextEncoder().encode(JSON.stringify({ ...problem, status }))
  const fields: FieldLine[] = [['content-length', String(body.length)], ['content-type', 'application/problem+json'], ['cache-control', 'no-store'], ...extra]
  const challenge = challengeOf(error, status)
  if (challenge !== undefined) fields.push(['www-authenticate', challenge])
  // One second is the upper end of a fail-over, after which asking again makes sense (RFC 9110 §10.2.3).
  if (status === 429 || status === 503) fields.push(['retry-after', String(error instanceof RelayError ? error.retryAfterSeconds ?? 1 : 1)])
  return { status, head: encode(status, fields), inline: method === 'HEAD' ? undefined : body, range: undefined }
}

/** The code under which an error counts. */
export function errorCode (error: unknown): string {
  return error instanceof RelayError ? error.code : 'RELAY_ERR_INTERNAL'
}
