import { BlockList, isIP } from 'node:net'
import { plainAddress } from './address-key.ts'

/** An address, or an address and the length of a prefix. */
const NETWORK = /^([0-9A-Fa-f:.]{2,45})(?:\/(\d{1,3}))?$/

interface Network { readonly address: string, readonly prefix: number, readonly family: 'ipv4' | 'ipv6' }

function parse (text: string): Network | undefined {
  const [, address = '', length] = NETWORK.exec(text) ?? []
  const version = isIP(address)
  // The mapped form would match no peer: those are compared as IPv4.
  if (version === 0 || plainAddress(address) !== address) return undefined
  const longest = version === 4 ? 32 : 128
  const prefix = length === undefined ? longest : Number(length)
  // A prefix of 0 would be everybody.
  return prefix >= 1 && prefix <= longest ? { address, prefix, family: version === 4 ? 'ipv4' : 'ipv6' } : undefined
}

/** Whether a text is an address or a network such as `10.0.0.0/8`; everybody (`/0`) is none. */
export function isNetwork (text: string): boolean {
  return parse(text) !== undefined
}

/** A set of addresses, given as addresses and networks; texts that are neither are left out. */
export class Networks {
  readonly #list = new BlockList()

  constructor (texts: readonly string[]) {
    for (const text of texts) {
      const network = parse(text)
      if (network !== undefined) this.#list.addSubnet(network.address, network.prefix, network.family)
    }
  }

  has (ip: string): boolean {
    const plain = plainAddress(ip)
    const version = isIP(plain)
    return version !== 0 && this.#list.check(plain, version === 4 ? 'ipv4' : 'ipv6')
  }
}
