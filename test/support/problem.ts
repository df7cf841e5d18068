import assert from 'node:assert/strict'
import { ERRORS, type ErrorCode } from '../../src/base/errors.ts'

/** Headers that describe an object and have no place on an error. */
const OBJECT_HEADERS = ['etag', 'repr-digest', 'accept-ranges', 'last-modified', 'cache-status', 'content-disposition']

export interface AnyResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly body: Buffer
}

/** The response is the problem document (RFC 9457) of `code`, complete and with nothing of an object on it. */
export function assertProblem (response: AnyResponse | undefined, code: ErrorCode, context = ''): void {
  assert.ok(response !== undefined, `${context}: no response`)
  const expected = ERRORS[code]
  const problem = JSON.parse(response.body.toString()) as Record<string, unknown>
  assert.equal(problem['code'], code, context)
  assert.equal(response.status, expected.status, context)
  assert.equal(response.headers['content-type'], 'application/problem+json', context)
  assert.equal(response.headers['content-length'], String(response.body.length), context)
  assert.deepEqual(Object.keys(problem), ['type', 'title', 'status', 'detail', 'code', 'retryable'], context)
  const { detail, ...fixed } = problem
  assert.deepEqual(fixed, { type: `urn:icn-relay:error:${code}`, title: expected.title, status: expected.status, code, retryable: expected.retryable }, context)
  assert.ok(typeof detail === 'string' && detail.length > 0, context)
  assert.equal(response.headers['cache-control'], 'no-store', context)
  for (const name of OBJECT_HEADERS) assert.equal(response.headers[name], undefined, `${context}: ${name}`)
  if (expected.status !== 416) assert.equal(response.headers['content-range'], undefined, context)
}
