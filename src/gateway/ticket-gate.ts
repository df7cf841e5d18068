import { decodeTicket } from '../admission/ticket.ts'

/** Why a ticket is not good; `full`: more tickets were used within their life than can be remembered. */
export type TicketFault = 'malformed' | 'forged' | 'expired' | 'spent' | 'full'

export type TicketVerdict = { readonly ok: true, readonly address: string } | { readonly ok: false, readonly fault: TicketFault }

/** Lets every ticket in once. What was used is remembered until it expires; when there is no room for that, tickets are refused and none is let in twice. */
export class TicketGate {
  readonly #key: Uint8Array
  readonly #maxSpent: number
  /** When each nonce may be forgotten, wall clock. */
  readonly #spent = new Map<string, number>()

  constructor (key: Uint8Array, maxSpent: number) {
    this.#key = key
    this.#maxSpent = maxSpent
  }

  /** Nonces remembered now. */
  get size (): number { return this.#spent.size }

  /** @param now wall clock, ms since the epoch */
  admit (text: string, now: number): TicketVerdict {
    const ticket = decodeTicket(text, this.#key)
    if (typeof ticket === 'string') return { ok: false, fault: ticket }
    if (now >= ticket.expiresAt) return { ok: false, fault: 'expired' }
    const nonce = Buffer.from(ticket.nonce).toString('base64url')
    if (this.#spent.has(nonce)) return { ok: false, fault: 'spent' }
    if (this.#spent.size >= this.#maxSpent) this.forgetExpired(now)
    if (this.#spent.size >= this.#maxSpent) return { ok: false, fault: 'full' }
    this.#spent.set(nonce, ticket.expiresAt)
    return { ok: true, address: ticket.address }
  }

  /** To be called about once a second. */
  forgetExpired (now: number): void {
    for (const [nonce, expiresAt] of this.#spent) if (now >= expiresAt) this.#spent.delete(nonce)
  }
}
