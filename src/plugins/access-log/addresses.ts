import { createHmac } from 'node:crypto'
import { isIPv4, isIPv6 } from 'node:net'
import { LRUCache } from 'lru-cache'
import { ipv6Groups, plainAddress } from '../../admission/address-key.ts'

export type AddressForm = 'full' | 'prefix' | 'hashed'

/** Addresses whose form is remembered: computing one costs as much as the rest of a line. */
const REMEMBERED = 10_000
/** Of the digest in a line: enough that no two viewers of one relay meet. */
const HASH_CHARS = 16
/** Groups of an IPv6 address that stay: /48, which is a site and not a person. */
const PREFIX_GROUPS = 3

/** The network of an address: /24, of IPv6 /48; a text that is no address stays. */
function prefixOf (ip: string): string {
  const address = plainAddress(ip)
  if (isIPv4(address)) return `${address.slice(0, address.lastIndexOf('.'))}.0`
  return isIPv6(address) ? `${ipv6Groups(address).slice(0, PREFIX_GROUPS).map(group => group.toString(16)).join(':')}::` : address
}

/** How an address is shown in the access log. @param key of the hash: whoever has it can find out addresses by trying them all */
export function addressView (form: AddressForm, key: Uint8Array): (ip: string) => string {
  const of = (ip: string): string => form === 'full'
    ? plainAddress(ip)
    : form === 'prefix' ? prefixOf(ip) : createHmac('sha256', key).update(plainAddress(ip)).digest('hex').slice(0, HASH_CHARS)
  const known = new LRUCache<string, string>({ max: REMEMBERED })
  return ip => {
    let shown = known.get(ip)
    if (shown === undefined) {
      shown = of(ip)
      known.set(ip, shown)
    }
    return shown
  }
}
