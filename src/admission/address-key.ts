import { isIPv4, isIPv6 } from 'node:net'

/** Key of whatever is not an address, such as garbage in a forwarding header: all of it shares one. */
export const NO_ADDRESS = 'none'

/** Groups of an IPv6 address; the form with an IPv4 tail (RFC 4291 §2.2) stands for two of them. */
const GROUPS = 8

function groupsOf (text: string): number[] {
  if (text === '') return []
  return text.split(':').flatMap(part => {
    if (!part.includes('.')) return [Number.parseInt(part, 16)]
    const [a = 0, b = 0, c = 0, d = 0] = part.split('.').map(Number)
    return [a << 8 | b, c << 8 | d]
  })
}

/** The eight groups of an address that `isIPv6` accepts, without its zone. (ipaddr.js takes `::192.0.2.1` for `::ffff:192.0.2.1`, which is another address.) */
export function ipv6Groups (ip: string): number[] {
  const [address = ''] = ip.split('%', 1)
  const [head = '', tail] = address.split('::')
  const left = groupsOf(head)
  if (tail === undefined) return left
  const right = groupsOf(tail)
  return [...left, ...Array.from({ length: GROUPS - left.length - right.length }, () => 0), ...right]
}

/** The IPv4 address inside an IPv4-mapped one (RFC 4291 §2.5.5.2), which is how a dual-stack socket reports IPv4 peers. */
function mapped (groups: readonly number[]): string | undefined {
  const [, , , , , marker, high = 0, low = 0] = groups
  if (marker !== 0xffff || groups.slice(0, 5).some(group => group !== 0)) return undefined
  return `${high >> 8}.${high & 0xff}.${low >> 8}.${low & 0xff}`
}

/** An address as people know it: an IPv4-mapped one becomes IPv4, any other text stays. */
export function plainAddress (ip: string): string {
  return isIPv6(ip) ? mapped(ipv6Groups(ip)) ?? ip : ip
}

/** One spelling for each address: an IPv4-mapped one is IPv4, a zone stays, and so does a text that is no IPv6 address. */
export function canonicalAddress (ip: string): string {
  if (!isIPv6(ip)) return ip
  const groups = ipv6Groups(ip)
  const zone = ip.indexOf('%')
  return mapped(groups) ?? `${groups.map(group => group.toString(16)).join(':')}${zone < 0 ? '' : ip.slice(zone)}`
}

/**
 * What stands for an address wherever one is a key: IPv4 by itself, IPv4-mapped as IPv4, IPv6 by its /64, which is the least
 * a site is given (RFC 6177), so that nobody has 2^64 of them. Equal for every spelling of an address; never throws.
 */
export function addressKey (ip: string): string {
  if (isIPv4(ip)) return ip
  if (!isIPv6(ip)) return NO_ADDRESS
  const groups = ipv6Groups(ip)
  return mapped(groups) ?? `${groups.slice(0, 4).map(group => group.toString(16)).join(':')}::/64`
}
