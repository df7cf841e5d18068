import { plainAddress } from '../../../admission/address-key.ts'
import type { PeerAddress, SessionRequest } from '../../../protocol/transport-session.ts'
import type { LibraryRequest } from './library.ts'

/** Reads the library's `ip:port`, `[v6]:port` or, on its TCP transports, `v6:port` without brackets; IPv4-mapped addresses become IPv4. */
export function parsePeer (address: string): PeerAddress | undefined {
  const colon = address.lastIndexOf(':')
  const port = Number(address.slice(colon + 1))
  const ip = address.slice(0, Math.max(colon, 0)).replace(/^\[|\]$/g, '')
  return ip === '' || ip === 'undefined' || !Number.isInteger(port) ? undefined : { ip: plainAddress(ip), port }
}

/** The request as the layer above sees it; undefined when the peer is gone already. */
export function toSessionRequest (request: LibraryRequest): SessionRequest | undefined {
  const peer = parsePeer(request.peerAddress)
  if (peer === undefined) return undefined
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(request.header)) {
    if (!name.startsWith(':')) headers[name.toLowerCase()] = Array.isArray(value) ? value.join(', ') : String(value)
  }
  return {
    path: withoutExtraSlashes(text(request.header[':path'])),
    authority: text(request.header[':authority']) === '' ? headers['host'] ?? '' : text(request.header[':authority']),
    headers,
    peer
  }
}

/** The library's browser client asks for `//path`. */
function withoutExtraSlashes (path: string): string {
  return path.replace(/^\/{2,}/, '/')
}

function text (value: unknown): string {
  return typeof value === 'string' ? value : ''
}
