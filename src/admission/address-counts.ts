import { addressKey } from './address-key.ts'

/** How many of something (sessions, connections) each address has now; holds no more entries than there are of them. */
export class AddressCounts {
  readonly #counts = new Map<string, number>()

  /** Addresses that have any. */
  get size (): number { return this.#counts.size }

  of (ip: string): number { return this.#counts.get(addressKey(ip)) ?? 0 }

  add (ip: string): void { this.#counts.set(addressKey(ip), this.of(ip) + 1) }

  /** The end of one that was added. */
  remove (ip: string): void {
    const left = this.of(ip) - 1
    if (left > 0) this.#counts.set(addressKey(ip), left)
    else this.#counts.delete(addressKey(ip))
  }
}
