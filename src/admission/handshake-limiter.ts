import { AddressBuckets } from './address-buckets.ts'
import { addressKey } from './address-key.ts'
import { RateBucket } from './rate.ts'

/** Which limit was met, if any. */
export type HandshakeVerdict = 'admit' | 'rate-address' | 'rate-total'

/** Asked before a handshake is paid for; `now` in monotonic milliseconds. Must not throw. */
export type HandshakeGate = (ip: string, now: number) => HandshakeVerdict

/** The gate of a listener without limits. */
export const openGate: HandshakeGate = () => 'admit'

export interface HandshakeLimits {
  readonly handshakesPerSecond: number
  readonly handshakesPerSecondPerIp: number
  /** Addresses remembered at most. */
  readonly trackedIps: number
}

/**
 * Handshakes a second, in total and for each address. Only what is admitted is charged and remembered. The total bucket lets
 * through twice its rate in a second at most, so no more addresses than that have anything to remember: with a larger table
 * than that the limiter decides as one without a bound, however many addresses ask.
 */
export class HandshakeLimiter {
  readonly #total: RateBucket
  readonly #addresses: AddressBuckets

  constructor (limits: HandshakeLimits) {
    this.#total = new RateBucket(limits.handshakesPerSecond)
    this.#addresses = new AddressBuckets(limits.handshakesPerSecondPerIp, limits.trackedIps)
  }

  /** Addresses remembered now. */
  get size (): number { return this.#addresses.size }

  /** Decides about one handshake, and charges it when it is admitted. */
  admit (ip: string, now: number): HandshakeVerdict {
    const key = addressKey(ip)
    if (!this.#addresses.allows(key, now)) return 'rate-address'
    if (!this.#total.allows(now)) return 'rate-total'
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
