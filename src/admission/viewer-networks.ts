import { Networks } from './networks.ts'

/** Which viewers are let in by their addresses, as it is configured. */
export interface NetworkLists {
  readonly allow: readonly string[]
  readonly deny: readonly string[]
}

/** Lets viewers in by their addresses: nobody of a denied network, and where networks are allowed, nobody of another one. */
export class ViewerNetworks {
  readonly allow: Networks
  readonly deny: Networks

  constructor ({ allow, deny }: NetworkLists) {
    this.allow = new Networks(allow)
    this.deny = new Networks(deny)
  }

  /** @param ip as it is known; what is no address is let in only where no networks are allowed */
  refuses (ip: string): boolean {
    return this.deny.has(ip) || (this.allow.size > 0 && !this.allow.has(ip))
  }
}
