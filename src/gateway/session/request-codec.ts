import { requestToken } from '../../admission/request-token.ts'
import { RelayError } from '../../base/errors.ts'
import { HeadError, HeadReader, parseFields } from '../../protocol/message-head.ts'
import type { Fields, RawHead } from '../../protocol/message-head.ts'

/** Limits of the viewer contract: a browser's request is under 1 KiB, a JWT at most a few KiB. */
export const REQUEST_LIMITS = { maxBytes: 8192, maxFields: 64 } as const

/** One request of a viewer, syntax checked, meaning not yet. */
export interface ViewerRequest {
  readonly method: 'GET' | 'HEAD'
  /** Path as sent, without query. */
  readonly path: string
  /** Credentials of this request; secret, never to be logged. */
  readonly token: string | undefined
  readonly fields: Fields
}

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const TARGET = /^\/[\x21-\x7e]*$/
const VERSION = /^HTTP\/1\.[01]$/
const SECRET = /^[\x21-\x7e]+$/
/** First line of the request form that older viewers send. */
const AUTH_LINE = 'AUTH '

function malformed (detail: string): RelayError {
  return new RelayError('RELAY_ERR_BAD_REQUEST', detail)
}

/** Viewers have nothing to send but the head: a body would be held in memory for nobody. */
function refuseBody (fields: Fields): void {
  if (fields.has('transfer-encoding')) throw malformed('transfer codings are not used on this transport')
  const length = fields.get('content-length')
  if (length === undefined) return
  if (!/^\d+$/.test(length)) throw malformed('the content-length field is not a number')
  if (!/^0+$/.test(length)) throw new RelayError('RELAY_ERR_BODY_TOO_LARGE', 'a request has no body on this transport')
}

function parseHead ({ lines }: RawHead): ViewerRequest {
  const old = lines[0]?.startsWith(AUTH_LINE) === true ? lines[0].slice(AUTH_LINE.length) : undefined
  if (old !== undefined && !SECRET.test(old)) throw malformed('the AUTH line is not of the form AUTH <token>')
  const start = old === undefined ? 0 : 1
  // RFC 9112 §3: parts are separated by exactly one space.
  const [method, target, version, ...more] = (lines[start] ?? '').split(' ')
  if (method === undefined || !TOKEN.test(method) || target === undefined || more.length > 0) {
    throw malformed('the request line is not of the form GET <path> [HTTP/1.1]')
  }
  if (version !== undefined && !VERSION.test(version)) throw malformed('the version of the request line is not HTTP/1.1')
  if (!TARGET.test(target)) throw malformed('the request target is not an absolute path of visible characters')
  if (method !== 'GET' && method !== 'HEAD') throw new RelayError('RELAY_ERR_METHOD', 'only GET and HEAD are served')
  const fields = parseFields(lines.slice(start + 1), REQUEST_LIMITS.maxFields)
  refuseBody(fields)
  const token = requestToken(fields.get('authorization'), target)
  if (old !== undefined && token !== undefined) throw malformed('the request carries a token twice')
  const query = target.indexOf('?')
  return { method, path: query < 0 ? target : target.slice(0, query), token: old ?? token, fields }
}

function translate<T> (step: () => T): T {
  try {
    return step()
  } catch (error) {
    if (error instanceof HeadError) {
      throw new RelayError(error.fault === 'too-large' ? 'RELAY_ERR_HEADERS_TOO_LARGE' : 'RELAY_ERR_BAD_REQUEST', error.message)
    }
    throw error
  }
}

/**
 * Reads one viewer request from the bytes of its stream: HTTP/1.1 message syntax with optional version and fields, CRLF or
 * LF, ended by an empty line or FIN, and the old form with an `AUTH <token>` first line.
 */
export class RequestReader {
  readonly #head = new HeadReader(REQUEST_LIMITS.maxBytes)

  /**
   * Takes the next bytes; the request once its head is complete. Not to be called again after that or after an error.
   * @throws RelayError RELAY_ERR_BAD_REQUEST, RELAY_ERR_METHOD, RELAY_ERR_HEADERS_TOO_LARGE, RELAY_ERR_BODY_TOO_LARGE
   */
  push (chunk: Uint8Array): ViewerRequest | undefined {
    return translate(() => {
      const head = this.#head.push(chunk)
      return head === undefined ? undefined : parseHead(head)
    })
  }

  /**
   * The viewer sent FIN: what came so far is the whole request.
   * @throws RelayError as {@link push}
   */
  end (): ViewerRequest {
    return translate(() => parseHead(this.#head.end()))
  }
}
