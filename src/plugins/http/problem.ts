import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest, FastifySchemaValidationError } from 'fastify'
import { ERRORS, RelayError, systemCode, toProblem, type ErrorCode } from '../../base/errors.ts'
import { problemFields } from '../../protocol/answer.ts'

const PROBLEM_TYPE = 'application/problem+json'

/** Headers that describe the object that was to be sent; none of them may stand on an error. */
const OBJECT_HEADERS = ['age', 'etag', 'repr-digest', 'content-range', 'content-length', 'accept-ranges', 'cache-control', 'cache-status', 'last-modified']

/** Fastify's and Node's own errors in our codes. */
const FRAMEWORK_CODES: Record<string, ErrorCode> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'RELAY_ERR_BODY_TOO_LARGE',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'RELAY_ERR_MEDIA_TYPE',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'RELAY_ERR_BAD_REQUEST',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'RELAY_ERR_BAD_REQUEST',
  FST_ERR_CTP_INVALID_JSON_BODY: 'RELAY_ERR_BAD_REQUEST',
  FST_ERR_VALIDATION: 'RELAY_ERR_BAD_REQUEST',
  HPE_HEADER_OVERFLOW: 'RELAY_ERR_HEADERS_TOO_LARGE',
  ERR_HTTP_REQUEST_TIMEOUT: 'RELAY_ERR_REQUEST_TIMEOUT'
}

/** Client errors of plugins and of the router, by status; any other 4xx is a malformed request. */
const PLUGIN_CODES: Record<number, ErrorCode> = {
  403: 'RELAY_ERR_NOT_FOUND',
  404: 'RELAY_ERR_NOT_FOUND',
  413: 'RELAY_ERR_BODY_TOO_LARGE',
  415: 'RELAY_ERR_MEDIA_TYPE',
  416: 'RELAY_ERR_RANGE_UNSATISFIABLE',
  429: 'RELAY_ERR_RATE_LIMITED'
}

/** Any error as a RelayError: ours unchanged, the framework's by code, the rest as internal with the text kept for the log only. */
function asRelayError (error: unknown): RelayError {
  if (error instanceof RelayError) return error
  const code = FRAMEWORK_CODES[systemCode(error) ?? '']
  if (code !== undefined) return new RelayError(code, error instanceof Error ? error.message : code, { cause: error })
  const status = error instanceof Error && 'statusCode' in error ? Number(error.statusCode) : 500
  if (status >= 400 && status < 500) {
    const meant = PLUGIN_CODES[status] ?? 'RELAY_ERR_BAD_REQUEST'
    // Their text may repeat the URL or name a file, and tokens stand in URLs.
    const detail = systemCode(error) === 'FST_ERR_BAD_URL' ? 'the path has a malformed percent-encoding' : ERRORS[meant].title.toLowerCase()
    return new RelayError(meant, detail, { cause: error })
  }
  return new RelayError('RELAY_ERR_INTERNAL', 'unexpected error; see the relay log', { cause: error })
}

/** Refusals that are our own doing and no fault: a relay in trouble must not write a stack for every one of them. */
const MEANT: ReadonlySet<ErrorCode> = new Set(['RELAY_ERR_STARTING', 'RELAY_ERR_STOPPING', 'RELAY_ERR_OVERLOADED', 'RELAY_ERR_LOCAL_LACK'])

/** Sends an error as problem+json (RFC 9457) and logs it once, at a level that fits whose fault it is. */
export function sendProblem (error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const known = asRelayError(error)
  request.problemCode = known.code
  // Of the object that was to be sent, nothing was.
  request.sentBytes = -1
  for (const name of OBJECT_HEADERS) {
    // 416 tells the size of the object by its content-range (RFC 9110 §15.5.17).
    if (name === 'content-range' && known.status === 416) continue
    reply.removeHeader(name)
    // A body that failed before its first byte has put its headers on the raw response already.
    reply.raw.removeHeader(name)
  }
  for (const [name, value] of problemFields(known)) {
    // The limiter of viewers and the gate of connections have said themselves when to come back.
    if (name !== 'retry-after' || known.retryAfterSeconds !== undefined || !reply.hasHeader(name)) reply.header(name, value)
  }
  if (known.source === 'internal' && !MEANT.has(known.code)) request.log.error({ err: error }, 'request failed')
  else request.log.debug({ code: known.code, detail: known.message }, 'request refused')
  return reply.code(known.status)
    .type(PROBLEM_TYPE)
    .serializer((payload: unknown) => `${JSON.stringify(payload)}\n`)
    .send(toProblem(known))
}

/** What is wrong with input, by name: {@link https://ajv.js.org/api.html#error-objects Ajv} leaves that to the parameters of its errors. */
export function describeInput ([error]: readonly FastifySchemaValidationError[], part: string): Error {
  if (error === undefined) return new Error(`${part} is invalid`)
  const { keyword, instancePath, params, message = 'is invalid' } = error
  const at = part + instancePath.replaceAll('/', '.')
  if (keyword === 'additionalProperties') return new Error(`${at} has the unknown property ${JSON.stringify(params['additionalProperty'])}`)
  if (keyword === 'enum') return new Error(`${at} must be one of ${JSON.stringify(params['allowedValues']).slice(1, -1)}`)
  return new Error(`${at} ${message}`)
}

/** Makes every error of an instance a problem document. */
export function useProblems (app: FastifyInstance): void {
  app.setSchemaErrorFormatter((errors, part) => describeInput(errors, part))
  app.setErrorHandler<FastifyError>((error, request, reply) => sendProblem(error, request, reply))
  app.setNotFoundHandler((request, reply) => sendProblem(new RelayError('RELAY_ERR_NOT_FOUND', 'nothing is served at this path'), request, reply))
}

/** Answers what Node's parser refused before there was a request: 400, 408 or 431 on the bare socket. */
export function answerClientError (error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || socket.bytesWritten > 0) {
    socket.destroy(error)
    return
  }
  const code = FRAMEWORK_CODES[error.code ?? ''] ?? 'RELAY_ERR_BAD_REQUEST'
  const detail = code === 'RELAY_ERR_HEADERS_TOO_LARGE'
    ? 'the request head is larger than 16 KiB'
    : code === 'RELAY_ERR_REQUEST_TIMEOUT' ? 'the request head did not arrive in time' : 'the request is not HTTP/1.1'
  answerOnSocket(socket, new RelayError(code, detail))
}

/** Answers on a connection that carries no request, over HTTP/1.1, and ends it. */
export function answerOnSocket (socket: Socket, error: RelayError): void {
  const problem = toProblem(error)
  const body = `${JSON.stringify(problem)}\n`
  socket.end(`HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status] ?? ''}\r\ncontent-type: ${PROBLEM_TYPE}\r\ncontent-length: ${Buffer.byteLength(body)}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n${body}`)
}
