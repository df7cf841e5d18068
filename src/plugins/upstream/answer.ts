/** What the head of a super-node's answer says. */
import type { Readable } from 'node:stream'
import { RelayError } from '../../base/errors.ts'
import { parseDigests } from '../../protocol/repr-digest.ts'

/** The rest of an object of which the start is here already, or another part of one that is known. */
export interface Resume {
  readonly from: number
  /** Where the part ends, exclusive; the end of the object without it. */
  readonly to?: number
  /** Whether every block of it is verified: then it need not be proven that it belongs to what is here. */
  readonly verifiable?: boolean
  /** Of the whole object, bytes. */
  readonly size: number
  readonly sha256: string | undefined
  /** Entity-tag of what the start belongs to. */
  readonly etag: string | undefined
}

/** A response whose body is not read yet. */
export interface NodeResponse {
  /** Undefined when the node does not announce it. */
  readonly size: number | undefined
  /** From `repr-digest`, lower-case hex. */
  readonly sha256: string | undefined
  readonly sha512: string | undefined
  readonly etag: string | undefined
  /** Whether it may be kept: a body whose end cannot be told from a broken connection may lack its end, and `no-store` is a wish. */
  readonly storable: boolean
  /** How long ago an origin sent it, as caches between us say (RFC 9111 §5.1), ms. */
  readonly ageMs: number
  readonly body: Readable
  /** Bytes of the object before the first of `body`. */
  readonly offset: number
}

/** What is odd about an answer that is taken all the same. */
export type Oddity = (typeof ODDITIES)[number]

export const ODDITIES = ['digest-algorithm', 'digest-malformed', 'no-store', 'no-length'] as const

type AnswerFields = Readonly<Record<string, string | string[] | undefined>>

/** Lines of a field are one value (RFC 9110 §5.3). */
export function fieldValue (fields: AnswerFields, name: string): string | undefined {
  const value = fields[name]
  return Array.isArray(value) ? value.join(', ') : value
}

/** What an origin asks for longer than this it hardly means, seconds: a day. */
const MAX_RETRY_AFTER_S = 86_400

/**
 * Seconds of a `Retry-After` field, a number or a date (RFC 9110 §10.2.3); undefined when there is none that can be read.
 * @param now wall clock, ms
 */
export function retryAfterSeconds (value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined
  const seconds = /^\d{1,10}$/.test(value) ? Number(value) : Math.ceil((Date.parse(value) - now) / 1_000)
  return Number.isFinite(seconds) ? Math.min(MAX_RETRY_AFTER_S, Math.max(0, seconds)) : undefined
}

/** How `cache-status` (RFC 9211) of a relay begins. */
const CACHE_NAME = 'icn-relay;'

/** Whether only a relay answers like this: what it serves names its cache. */
export function provesRelay (status: number, fields: AnswerFields): boolean {
  return status === 508 || fieldValue(fields, 'cache-status')?.startsWith(CACHE_NAME) === true
}

/** Whether an error is a problem document (RFC 9457), as the errors of relays are. */
export function isProblem (fields: AnswerFields): boolean {
  return fieldValue(fields, 'content-type')?.startsWith('application/problem+json') === true
}

/** A node does not have the object. What a relay says of it is what it heard, and it may have heard nothing because the request went in circles. */
export class NotFoundError extends RelayError {
  readonly byRelay: boolean

  constructor (node: string, byRelay: boolean) {
    super('RELAY_ERR_SHARD_NOT_FOUND', `super-node ${node} does not have it`)
    this.byRelay = byRelay
  }
}

/** Ages beyond that, ten years, are no ages, seconds. */
const MAX_AGE_S = 315_360_000

/** What `Age` says, ms; 0 where it says nothing that can be read. */
function ageMsOf (value: string | undefined): number {
  const seconds = value !== undefined && /^\d{1,15}$/.test(value) ? Number(value) : 0
  return Math.min(seconds, MAX_AGE_S) * 1_000
}

const NO_STORE = /(?:^|,)[ \t]*no-store[ \t]*(?:,|$)/i

/** Facts of a 200 or 206 about the object. @throws RelayError RELAY_ERR_UPSTREAM_STATUS, RELAY_ERR_UPSTREAM_BODY when it is none */
export function readHead (node: string, fields: AnswerFields): Omit<NodeResponse, 'body' | 'offset'> & { readonly oddities: readonly Oddity[] } {
  const encoding = fieldValue(fields, 'content-encoding')
  if (encoding !== undefined && encoding !== 'identity') throw new RelayError('RELAY_ERR_UPSTREAM_STATUS', `super-node ${node} answered with a content coding that was not asked for`)
  if (/^text\/html\b/i.test(fieldValue(fields, 'content-type') ?? '')) throw new RelayError('RELAY_ERR_UPSTREAM_STATUS', `super-node ${node} answered with a web page in place of the object`)
  const length = fieldValue(fields, 'content-length')
  const size = length !== undefined && /^\d{1,15}$/.test(length) ? Number(length) : undefined
  if (size === 0) throw new RelayError('RELAY_ERR_UPSTREAM_BODY', `super-node ${node} answered with an empty body`)
  const { sha256, sha512, unusable } = parseDigests(fieldValue(fields, 'repr-digest'))
  // Chunks and a length tell the end of a body; otherwise only the end of the connection does (RFC 9112 §6.3).
  const delimited = size !== undefined || fields['transfer-encoding'] !== undefined
  const endless = !delimited && sha256 === undefined && sha512 === undefined
  const noStore = NO_STORE.test(fieldValue(fields, 'cache-control') ?? '')
  return {
    size,
    sha256,
    sha512,
    etag: fieldValue(fields, 'etag'),
    storable: !endless && !noStore,
    ageMs: ageMsOf(fieldValue(fields, 'age')),
    oddities: [...unusable === undefined ? [] : [`digest-${unusable}` as const], ...noStore ? ['no-store' as const] : [], ...endless ? ['no-length' as const] : []]
  }
}

/** Whether two parts are known to be of the same bytes, or to be of different ones; undefined when nothing tells. */
export function sameObject (a: Pick<Resume, 'sha256' | 'etag'>, b: Pick<Resume, 'sha256' | 'etag'>): boolean | undefined {
  if (a.sha256 !== undefined && b.sha256 !== undefined) return a.sha256 === b.sha256
  if (a.etag === undefined && b.etag === undefined) return true
  // A weak tag is the same for representations that differ in some bytes, and a tag of one side only compares with nothing.
  return isStrong(a.etag) && a.etag === b.etag ? true : undefined
}

/** Whether a tag may stand in `If-Range` (RFC 9110 §13.1.5). */
export function isStrong (etag: string | undefined): etag is string {
  return etag !== undefined && /^"[\x21\x23-\x7e\x80-\xff]*"$/.test(etag)
}
