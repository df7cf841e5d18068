import { BlockList, isIP, isIPv4 } from 'node:net'

/** Not globally reachable, by the registries of RFC 6890. */
const PRIVATE_IPV4 = [
  '0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12', '192.0.0.0/24', '192.0.2.0/24', '192.88.99.0/24', '192.168.0.0/16',
  '198.18.0.0/15', '198.51.100.0/24', '203.0.113.0/24', '224.0.0.0/3'
]
/** Within 2000::/3, outside of which nothing is global: protocol assignments with Teredo, documentation, 6to4. */
const PRIVATE_IPV6 = ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20']

function listOf (networks: readonly string[], family: 'ipv4' | 'ipv6'): BlockList {
  const list = new BlockList()
  for (const network of networks) {
    const [address = '', prefix] = network.split('/')
    list.addSubnet(address, Number(prefix), family)
  }
  return list
}

const privateIpv4 = listOf(PRIVATE_IPV4, 'ipv4')
const globalIpv6 = listOf(['2000::/3'], 'ipv6')
const privateIpv6 = listOf(PRIVATE_IPV6, 'ipv6')

/** Whether an address may be anywhere on the internet: not loopback, private, link-local, multicast or set apart, and no IPv4 address within an IPv6 one. */
export function isPublicAddress (address: string): boolean {
  if (isIP(address) === 0) return false
  if (isIPv4(address)) return !privateIpv4.check(address, 'ipv4')
  return !address.includes('%') && globalIpv6.check(address, 'ipv6') && !privateIpv6.check(address, 'ipv6')
}

/** Whether the host of a URL, or of an address in its text form, is an address that is not public; names are not looked up. */
export function isPrivateHost (host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '')
  return isIP(bare) !== 0 && !isPublicAddress(bare)
}
