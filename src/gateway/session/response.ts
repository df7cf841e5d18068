import { STATUS_CODES } from 'node:http'
import { RelayError, toProblem } from '../../base/errors.ts'
import { problemFields, type Answer, type Field } from '../../protocol/answer.ts'
import { encodeHead } from '../../protocol/message-head.ts'
import type { ByteRange } from '../../protocol/range.ts'

/** An answer as it is sent: head, then an inline body or these bytes of the object. */
export interface EncodedAnswer {
  readonly status: number
  readonly head: Uint8Array
  readonly inline: Uint8Array | undefined
  readonly range: ByteRange | undefined
}

/** Statuses of HTTP that are not in the viewer contract, by the nearest that is: viewers switch over a closed list. */
const CONTRACT_STATUS: Readonly<Record<number, number>> = { 405: 400, 408: 400, 415: 400, 431: 413 }

function encode (status: number, fields: readonly Field[]): Uint8Array {
  return encodeHead(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Unknown'}`, fields)
}

/**
 * The head of an answer always has a `content-length` on this transport; of a 304 it is the one a 200 would have had (RFC 9110 §8.6), which over HTTP
 * undici takes for a body that is missing.
 * @param size of the whole object, bytes
 * @param extra fields
 */
export function encodeAnswer ({ status, fields, body }: Answer, size: number, ...extra: readonly Field[]): EncodedAnswer {
  const framed: readonly Field[] = status === 304 ? [...fields, ['content-length', String(size)], ...extra] : [...fields, ...extra]
  return { status, head: encode(status, framed), inline: undefined, range: body === undefined || body.start === body.end ? undefined : body }
}

/** The answer to a request that failed: problem+json (RFC 9457) with a status of the viewer contract. Never throws. @param extra fields */
export function encodeProblem (error: unknown, method: 'GET' | 'HEAD' = 'GET', extra: readonly Field[] = []): EncodedAnswer {
  const known = error instanceof RelayError ? error : new RelayError('RELAY_ERR_INTERNAL', 'unexpected error; see the relay log', { cause: error })
  const problem = toProblem(known)
  const status = CONTRACT_STATUS[problem.status] ?? problem.status
  const body = new TextEncoder().encode(JSON.stringify({ ...problem, status }))
  const fields: Field[] = [['content-length', String(body.length)], ['content-type', 'application/problem+json'], ...problemFields(known), ...extra]
  return { status, head: encode(status, fields), inline: method === 'HEAD' ? undefined : body, range: undefined }
}

/** The code under which an error counts. */
export function errorCode (error: unknown): string {
  return error instanceof RelayError ? error.code : 'RELAY_ERR_INTERNAL'
}
