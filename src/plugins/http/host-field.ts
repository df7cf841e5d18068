import type { IncomingMessage } from 'node:http'
import { isIPv6 } from 'node:net'
import { RelayError } from '../../base/errors.ts'

/** `uri-host [ ":" port ]` (RFC 9110 §7.2), with whatever stands in brackets as a group. */
const HOST = /^(?:\[([0-9A-Fa-f:.]+)\]|(?:[A-Za-z0-9._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})*)(?::(\d{0,5}))?$/

/** Whether a text is a host as the field may name it; it may also be empty, for what has no authority. */
function isHost (text: string): boolean {
  const [matched, address, port = ''] = HOST.exec(text) ?? []
  return matched !== undefined && (address === undefined || isIPv6(address)) && Number(port) <= 65_535
}

/**
 * Holds a request to naming one host (RFC 9112 §3.2; RFC 9113 §8.3.1): Node keeps the first of several, and others before us may have taken the last.
 * @throws RelayError RELAY_ERR_BAD_REQUEST
 */
export function checkHost ({ rawHeaders, httpVersion }: Pick<IncomingMessage, 'rawHeaders' | 'httpVersion'>): void {
  let host: string | undefined
  let authority: string | undefined
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? ''
    const value = rawHeaders[at + 1] ?? ''
    if (name.length === 4 && name.toLowerCase() === 'host') {
      if (host !== undefined) throw new RelayError('RELAY_ERR_BAD_REQUEST', 'the request names its host twice')
      host = value
    } else if (name === ':authority') authority = value
  }
  if (host === undefined && httpVersion === '1.1') throw new RelayError('RELAY_ERR_BAD_REQUEST', 'an HTTP/1.1 request names its host')
  if (!isHost(host ?? '') || !isHost(authority ?? '')) throw new RelayError('RELAY_ERR_BAD_REQUEST', 'the host of the request is malformed')
  if (host !== undefined && authority !== undefined && host.toLowerCase() !== authority.toLowerCase()) {
    throw new RelayError('RELAY_ERR_BAD_REQUEST', 'host and authority of the request differ')
  }
}
