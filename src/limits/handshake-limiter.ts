import { AddressBuckets } from './address-buckets.ts'
import { addressKey } from './address-key.ts'
import { TokenBucket } from './rate.ts'

/**
 * How well the sender of a handshake is known: `given`, its address is proven (TCP, or a QUIC token); `optional`, it is not,
 * and need not be as far as the engine is concerned; `required`, it is not, and the engine will not begin before it is.
 */
export type AddressProof = 'given' | 'optional' | 'required'

/** `prove`: ask for a proof of the address, which costs nobody anything; the last two say which limit was met. */
export type HandshakeVerdict = 'admit' | 'prove' | 'rate-address' | 'rate-total'

/** An engine asks this before it pays for a handshake; `now` in monotonic milliseconds. Must not throw. */
export type HandshakeGate = (ip: string, proof: AddressProof, now: number) => HandshakeVerdict

/** The gate of a listener without limits. */
export const openGate: HandshakeGate = (_ip, proof) => proof === 'required' ? 'prove' : 'admit'

export interface HandshakeLimits {
  readonly handshakesPerSecond: number
  readonly handshakesPerSecondPerIp: number
  /** Addresses remembered at most. */
  readonly trackedIps: number
}

/**
 * What an unproven address may use of its own bucket and of the total: whoever sends under false addresses cannot empty
 * either, so the lower half is always there for those who really are where they say.
 */
const UNPROVEN_SHARE = 0.5

/**
 * Handshakes a second, in total and for each address. Only what is admitted is charged and remembered. The total bucket lets
 * through twice its rate in a second at most, so no more addresses than that have anything to remember: with a larger table
 * than that the limiter decides as one without a bound, however many addresses ask.
 */
export class HandshakeLimiter {
  readonly #total: TokenBucket
  readonly #addresses: AddressBuckets

  constructor (limits: HandshakeLimits) {
    this.#total = new TokenBucket(limits.handshakesPerSecond)
    this.#addresses = new AddressBuckets(limits.handshakesPerSecondPerIp, limits.trackedIps)
  }

  /** Addresses remembered now. */
  get size (): number { return this.#addresses.size }

  /** Decides about one handshake, and charges it when it is admitted. */
  admit (ip: string, proof: AddressProof, now: number): HandshakeVerdict {
    const key = addressKey(ip)
    if (!this.#addresses.allows(key, now)) return 'rate-address'
    if (!this.#total.allows(now)) return 'rate-total'
    if (proof === 'required') return 'prove'
    if (proof === 'optional' && !(this.#addresses.allows(key, now, UNPROVEN_SHARE) && this.#total.allows(now, UNPROVEN_SHARE))) return 'prove'
    this.#total.spend(now)
    this.#addresses.spend(key, now)
    return 'admit'
  }

  /** Forgets addresses that have been quiet; to be called about once a second. */
  forgetIdle (now: number): void { this.#addresses.forgetIdle(now) }

  change (limits: HandshakeLimits): void {
    this.#total.perSecond = limits.handshakesPerSecond
    this.#addresses.change(limits.handshakesPerSecondPerIp, limits.trackedIps)
  }
}
