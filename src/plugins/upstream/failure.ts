/** What went wrong between us and a super-node, in our terms. */
import { errors } from 'undici'
import { ERRORS, isLocalLack, RelayError, systemCode, type ErrorCode } from '../../base/errors.ts'

/** Characters of what a node sent that go into a message. */
const QUOTED_CHARS = 24

/** What an error of OpenSSL, or of the check of a certificate, means; the first that matches. */
const TLS_CODES: readonly (readonly [code: RegExp, meaning: string])[] = [
  [/^ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST|UNKNOWN_PROTOCOL|RECORD_TOO_SMALL)$/, 'does not speak TLS: its URL should begin with http://'],
  [/ALERT_NO_APPLICATION_PROTOCOL$/, 'speaks HTTP/2 only (it refuses http/1.1 in ALPN); HTTP/1.1 is asked for'],
  [/ALERT_(CERTIFICATE_REQUIRED|BAD_CERTIFICATE)$/, 'wants a client certificate, and there is none to show'],
  [/ALERT_HANDSHAKE_FAILURE$/, 'refuses the TLS handshake: it may want a client certificate, or other ciphers'],
  [/^(ERR_TLS_CERT_ALTNAME_INVALID|CERT_|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_)/, 'has a certificate that is not trusted'],
  [/^(ERR_SSL_|ERR_TLS_|EPROTO$)/, 'failed in TLS']
]

/** An error of undici or of the socket as an error of the node; an abort by the caller keeps its reason. */
export function translate (error: unknown, node: string, signal: AbortSignal): RelayError {
  if (error instanceof RelayError) return error
  if (signal.aborted && signal.reason instanceof RelayError) return signal.reason
  const cause = { cause: error }
  if (error instanceof errors.ConnectTimeoutError || error instanceof errors.HeadersTimeoutError || error instanceof errors.BodyTimeoutError || signal.aborted) {
    return new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', `super-node ${node} did not answer in time`, cause)
  }
  if (isLocalLack(error)) return new RelayError('RELAY_ERR_LOCAL_LACK', 'the relay is short of descriptors or memory', cause)
  const violation = describeTls(error) ?? describeHttp(error)
  if (violation !== undefined) return new RelayError('RELAY_ERR_UPSTREAM_PROTOCOL', `super-node ${node} ${violation}`, cause)
  // Node.js, for one, says nothing before it ends a TLS connection whose client shows no certificate.
  return new RelayError('RELAY_ERR_UPSTREAM_UNREACHABLE', `super-node ${node} ${isClose(error) ? 'closed the connection before it had answered; over TLS it may want a client certificate' : `failed: ${systemCode(error) ?? 'unknown error'}`}`, cause)
}

/** Whether the other side has closed the connection, in whatever way. */
export function isClose (error: unknown): boolean {
  return error instanceof errors.SocketError || ['ECONNRESET', 'EPIPE', 'ECONNABORTED'].includes(systemCode(error) ?? '')
}

function describeTls (error: unknown): string | undefined {
  const code = systemCode(error) ?? ''
  const meaning = TLS_CODES.find(([pattern]) => pattern.test(code))?.[1]
  return meaning === undefined ? undefined : `${meaning} (${code})`
}

function describeHttp (error: unknown): string | undefined {
  if (error instanceof errors.HeadersOverflowError) return 'sent a head that is too large'
  if (error instanceof errors.ResponseContentLengthMismatchError) return 'sent a body that does not have its content-length, or more than one length'
  if (error instanceof errors.SocketError && error.message === 'bad response') return 'sent an answer that nobody asked for'
  if (error instanceof errors.SocketError && error.message === 'bad upgrade') return 'switched protocols, which nobody asked for'
  if (!(error instanceof errors.HTTPParserError)) return undefined
  const sent = 'data' in error && typeof error.data === 'string' ? error.data : ''
  if (isTlsRecord(sent)) return 'answers with TLS: its URL should begin with https://'
  if (isHttp2Frame(sent)) return 'speaks HTTP/2 only; HTTP/1.1 is asked for'
  const reason = /\(([^)]*)\)$/.exec(error.message)?.[1] ?? 'malformed'
  return `does not answer with HTTP/1.1: ${reason}${sent === '' ? '' : ` in ${JSON.stringify(sent.slice(0, QUOTED_CHARS))}`}`
}

/** An alert or a part of a handshake, version 3.x (RFC 8446 §5.1). */
function isTlsRecord (sent: string): boolean {
  const type = sent.charCodeAt(0)
  return (type === 21 || type === 22) && sent.charCodeAt(1) === 3 && sent.charCodeAt(2) <= 4
}

/** SETTINGS or GOAWAY of the connection itself, with which an HTTP/2 server begins or ends (RFC 9113 §3.4, §5.4.1). */
function isHttp2Frame (sent: string): boolean {
  const type = sent.charCodeAt(3)
  return sent.startsWith('\0\0') && (type === 4 || type === 7) && sent.slice(5, 9) === '\0\0\0\0'
}

/** The error as viewers may see it: addresses of super-nodes stay in the log. */
export function withoutAddress (error: RelayError): RelayError {
  return new RelayError(error.code, ERRORS[error.code].title.toLowerCase(), { cause: error, retryAfterSeconds: error.retryAfterSeconds })
}

/** Whether an error is of the relay itself and says nothing of a node. */
export function isOurs (error: unknown): boolean {
  return error instanceof RelayError && (error.source !== 'upstream' || error.code === 'RELAY_ERR_FILLS_BUSY' || error.code === 'RELAY_ERR_UNVERIFIED')
}

/** What leaves open whether somebody who was not asked has the object. Who is busy may have it, and need not be helped by asking others. */
const ELSEWHERE: ReadonlySet<string> = new Set<ErrorCode>([
  'RELAY_ERR_SHARD_NOT_FOUND', 'RELAY_ERR_UPSTREAM_UNREACHABLE', 'RELAY_ERR_UPSTREAM_TIMEOUT', 'RELAY_ERR_UPSTREAM_STATUS', 'RELAY_ERR_UPSTREAM_PROTOCOL', 'RELAY_ERR_UPSTREAM_CORRUPT'
])

/** Whether it is worth looking for other nodes that have the object. */
export function mayBeElsewhere (error: unknown): boolean {
  return error instanceof RelayError && ELSEWHERE.has(error.code)
}
