/** `struct sockaddr_in` and `struct sockaddr_in6` of Linux (ip(7), ipv6(7)); ports and addresses in network order, the family in ours. */
import { isIPv4, isIPv6 } from 'node:net'

export const AF_INET = 2
export const AF_INET6 = 10
const LENGTH_4 = 16
const LENGTH_6 = 28

/** The structure for an address of the socket's family; undefined for a name, another family, or an address with a zone. */
export function encodeSocketAddress (host: string, port: number, family: typeof AF_INET | typeof AF_INET6): Buffer | undefined {
  const out = Buffer.alloc(family === AF_INET ? LENGTH_4 : LENGTH_6)
  out.writeUInt16LE(family, 0)
  out.writeUInt16BE(port, 2)
  if (family === AF_INET) {
    if (!isIPv4(host)) return undefined
    out.set(ipv4(host), 4)
  } else {
    if (!isIPv6(host) || host.includes('%')) return undefined
    out.set(ipv6(host), 8)
  }
  return out
}

function ipv4 (text: string): number[] {
  return text.split('.').map(Number)
}

/** @param text what `isIPv6` admits, without zone */
function ipv6 (text: string): Uint8Array {
  const out = new Uint8Array(16)
  const [left = '', right] = text.split('::')
  const head = groups(left)
  out.set(head, 0)
  if (right !== undefined) {
    const tail = groups(right)
    out.set(tail, 16 - tail.length)
  }
  return out
}

/** Groups of 16 bits, the last perhaps an IPv4 address (RFC 4291 §2.2). */
function groups (text: string): number[] {
  if (text === '') return []
  return text.split(':').flatMap(group => {
    if (group.includes('.')) return ipv4(group)
    const value = Number.parseInt(group, 16)
    return [value >> 8, value & 0xff]
  })
}
