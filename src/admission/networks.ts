import { isIP } from 'node:net'
import { ipv6Groups, plainAddress } from './address-key.ts'

/** An address, or an address and the length of a prefix. */
const NETWORK = /^([0-9A-Fa-f:.]{2,45})(?:\/(\d{1,3}))?$/

interface Network { readonly address: string, readonly prefix: number, readonly version: 4 | 6 }

function parse (text: string): Network | undefined {
  const [, address = '', length] = NETWORK.exec(text) ?? []
  const version = isIP(address)
  // The mapped form would match no peer: those are compared as IPv4.
  if (version === 0 || plainAddress(address) !== address) return undefined
  const longest = version === 4 ? 32 : 128
  const prefix = length === undefined ? longest : Number(length)
  // A prefix of 0 would be everybody.
  return prefix >= 1 && prefix <= longest ? { address, prefix, version: version === 4 ? 4 : 6 } : undefined
}

/** Whether a text is an address or a network such as `10.0.0.0/8`; everybody (`/0`) is none. */
export function isNetwork (text: string): boolean {
  return parse(text) !== undefined
}

const IPV4_BITS = 32
const GROUP_BITS = 16

/** The first bits of an IPv4 address, as a number. */
function ipv4Key (address: string, prefix: number): number {
  const [a = 0, b = 0, c = 0, d = 0] = address.split('.').map(Number)
  return ((a << 24 | b << 16 | c << 8 | d) >>> (IPV4_BITS - prefix))
}

/** The first bits of an IPv6 address, as a text. */
function ipv6Key (groups: readonly number[], prefix: number): string {
  const whole = Math.floor(prefix / GROUP_BITS)
  const rest = prefix % GROUP_BITS
  const start = groups.slice(0, whole)
  return (rest === 0 ? start : [...start, (groups[whole] ?? 0) >>> (GROUP_BITS - rest)]).join(':')
}

/**
 * A set of addresses, given as addresses and networks; texts that are neither are left out. Whether an address is in it takes a look-up for every length
 * of prefix that occurs, of 32 or 128, however many networks there are. (`BlockList` of Node goes through all of them.)
 */
export class Networks {
  readonly #ipv4 = new Map<number, Set<number>>()
  readonly #ipv6 = new Map<number, Set<string>>()
  readonly #size: number

  constructor (texts: readonly string[]) {
    for (const text of texts) {
      const network = parse(text)
      if (network === undefined) continue
      const { address, prefix, version } = network
      if (version === 4) this.#of(this.#ipv4, prefix).add(ipv4Key(address, prefix))
      else this.#of(this.#ipv6, prefix).add(ipv6Key(ipv6Groups(address), prefix))
    }
    this.#size = [...this.#ipv4.values(), ...this.#ipv6.values()].reduce((sum, { size }) => sum + size, 0)
  }

  /** Networks in it, each once. */
  get size (): number { return this.#size }

  has (ip: string): boolean {
    if (this.#size === 0) return false
    const plain = plainAddress(ip)
    const version = isIP(plain)
    if (version === 4) {
      for (const [prefix, keys] of this.#ipv4) if (keys.has(ipv4Key(plain, prefix))) return true
    } else if (version === 6 && this.#ipv6.size > 0) {
      const groups = ipv6Groups(plain)
      for (const [prefix, keys] of this.#ipv6) if (keys.has(ipv6Key(groups, prefix))) return true
    }
    return false
  }

  #of<K> (lengths: Map<number, Set<K>>, prefix: number): Set<K> {
    const keys = lengths.get(prefix) ?? new Set<K>()
    lengths.set(prefix, keys)
    return keys
  }
}
