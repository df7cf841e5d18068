import type { HandshakeLimiter } from '../../admission/handshake-limiter.ts'
import { encodeTicket, NONCE_BYTES, TICKET_LIFE_MS } from '../../admission/ticket.ts'

export interface TicketIssuerDeps {
  /** Of the gateway that is to take the tickets; another one may have another key. */
  readonly key: () => Uint8Array
  /** Handshakes an address may begin, each of which takes a ticket. */
  readonly limiter: Pick<HandshakeLimiter, 'admit'>
  readonly clock: { readonly now: () => number, readonly monotonic: () => number }
  readonly randomBytes: (count: number) => Uint8Array
}

/** Issues tickets to viewers, whose address it sees, as many as handshakes are allowed. */
export class TicketIssuer {
  readonly #deps: TicketIssuerDeps

  constructor (deps: TicketIssuerDeps) {
    this.#deps = deps
  }

  /** A ticket, or which limit has been met. */
  issue (address: string): { readonly ticket: string } | { readonly refused: 'rate-address' | 'rate-total' } {
    const { key, limiter, clock, randomBytes } = this.#deps
    const verdict = limiter.admit(address, clock.monotonic())
    if (verdict !== 'admit') return { refused: verdict }
    return { ticket: encodeTicket({ address, expiresAt: clock.now() + TICKET_LIFE_MS, nonce: randomBytes(NONCE_BYTES) }, key()) }
  }
}
