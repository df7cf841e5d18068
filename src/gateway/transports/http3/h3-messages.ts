/** Field sections as requests and responses (RFC 9114 §4.3, RFC 9220, draft-ietf-webtrans-http3 §3.2). Sans-IO. */
import { H3, H3Error } from './h3-errors.ts'
import type { Field } from './qpack.ts'

/** `:protocol` of an extended CONNECT for WebTransport: draft-02 to draft-14, and draft-15 on. */
const WEBTRANSPORT_PROTOCOLS: ReadonlySet<string> = new Set(['webtransport', 'webtransport-h3'])
/** RFC 9110 §5.6.2 without upper case (RFC 9114 §4.2). */
const FIELD_NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/
/** RFC 9110 §5.5: no control characters but HTAB. */
const FIELD_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/
/** Connection-specific fields make a message malformed (RFC 9114 §4.2). */
const FORBIDDEN: ReadonlySet<string> = new Set(['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade'])

/** Pseudo-header fields without their colon, and all others with duplicates joined. */
export interface Message {
  readonly pseudo: ReadonlyMap<string, string>
  readonly headers: Readonly<Record<string, string>>
}

function malformed (detail: string): H3Error {
  return new H3Error(H3.MESSAGE_ERROR, detail, 'stream')
}

/** @throws H3Error MESSAGE_ERROR (stream) for a malformed message (RFC 9114 §4.1.2) */
export function readMessage (fields: readonly Field[], allowed: readonly string[]): Message {
  const pseudo = new Map<string, string>()
  const headers = new Map<string, string>()
  for (const [name, value] of fields) {
    if (!FIELD_VALUE.test(value)) throw malformed('control character in a field value')
    if (name.startsWith(':')) {
      const key = name.slice(1)
      // RFC 9114 §4.3: known, once, and before all other fields.
      if (headers.size > 0 || pseudo.has(key) || !allowed.includes(key)) throw malformed('misplaced pseudo-header field')
      pseudo.set(key, value)
    } else {
      if (!FIELD_NAME.test(name) || FORBIDDEN.has(name)) throw malformed('bad field name')
      const before = headers.get(name)
      // RFC 9114 §4.2.1 for cookie, RFC 9110 §5.3 for the others.
      headers.set(name, before === undefined ? value : `${before}${name === 'cookie' ? '; ' : ', '}${value}`)
    }
  }
  return { pseudo, headers: Object.fromEntries(headers) }
}

const REQUEST_PSEUDO = ['method', 'scheme', 'authority', 'path', 'protocol'] as const

/** What a request asks for: a WebTransport session, or something this server does not do, with the status that says so. */
export type RequestKind =
  | { readonly kind: 'session', readonly path: string, readonly authority: string, readonly headers: Readonly<Record<string, string>> }
  | { readonly kind: 'plain', readonly method: string, readonly status: number }

/** @throws H3Error MESSAGE_ERROR (stream) */
export function readRequest (fields: readonly Field[]): RequestKind {
  const { pseudo, headers } = readMessage(fields, REQUEST_PSEUDO)
  const method = pseudo.get('method')
  const protocol = pseudo.get('protocol')
  const path = pseudo.get('path')
  const authority = pseudo.get('authority') ?? headers.host
  if (method === undefined || method === '') throw malformed('no method')
  if (protocol !== undefined && method !== 'CONNECT') throw malformed(':protocol without CONNECT') // RFC 8441 §4
  if (method !== 'CONNECT') {
    if (path === undefined || path === '' || pseudo.get('scheme') === undefined) throw malformed('no path or scheme')
    return { kind: 'plain', method, status: method === 'GET' || method === 'HEAD' ? 404 : 405 }
  }
  // A plain CONNECT asks for a tunnel, which this is no proxy for; an unknown protocol gets 501 (RFC 9220 §3).
  if (protocol === undefined) return { kind: 'plain', method, status: 405 }
  if (path === undefined || !path.startsWith('/') || authority === undefined || authority === '' || pseudo.get('scheme') === undefined) {
    throw malformed('extended CONNECT without scheme, authority or path')
  }
  if (!WEBTRANSPORT_PROTOCOLS.has(protocol)) return { kind: 'plain', method, status: 501 }
  if (pseudo.get('scheme') !== 'https') return { kind: 'plain', method, status: 400 } // draft §3.2
  return { kind: 'session', path, authority, headers }
}

/** The status of a response. @throws H3Error MESSAGE_ERROR (stream) */
export function readStatus (fields: readonly Field[]): number {
  const status = readMessage(fields, ['status']).pseudo.get('status') ?? ''
  if (!/^[1-5]\d\d$/.test(status)) throw malformed('bad status')
  return Number(status)
}

/** Fields of our CONNECT; the version header is what draft-02 servers look for (draft-ietf-webtrans-http3-02 §3.2). */
export function connectFields (authority: string, path: string, headers: Readonly<Record<string, string>>): Field[] {
  return [
    [':method', 'CONNECT'], [':scheme', 'https'], [':authority', authority], [':path', path], [':protocol', 'webtransport'],
    ['sec-webtransport-http3-draft02', '1'], ...Object.entries(headers)
  ]
}

/** Fields of our answer to a CONNECT; Chromium wants the draft named (draft-ietf-webtrans-http3-02 §3.2). */
export function responseFields (status: number): Field[] {
  const fields: Field[] = [[':status', String(status)]]
  if (status === 200) fields.push(['sec-webtransport-http3-draft', 'draft02'])
  return fields
}

/** Fields of the answer to a request that is no session; the body is empty. */
export function plainResponseFields (status: number): Field[] {
  return [[':status', String(status)], ['content-length', '0']]
}
