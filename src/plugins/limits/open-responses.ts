import { AddressCounts } from '../../admission/address-counts.ts'
import { RelayError } from '../../base/errors.ts'

export interface ResponseLimits {
  /** Responses under way at the same time, of one address and in total. */
  readonly perAddress: number
  readonly total: number
}

/** Time until another response may have ended, seconds. */
const RETRY_S = 1

/** Responses under way, over HTTP and over sessions: each holds memory and an object, whatever its viewer does with it. */
export class OpenResponses {
  #limits: ResponseLimits
  readonly #counts = new AddressCounts()
  #open = 0

  constructor (limits: ResponseLimits) {
    this.#limits = limits
  }

  get open (): number { return this.#open }
  /** Of one address from now on; those under way go on. */
  change (perAddress: number): void { this.#limits = { ...this.#limits, perAddress } }

  get perAddress (): number { return this.#limits.perAddress }
  /** Addresses that have any. */
  get addresses (): number { return this.#counts.size }

  /**
   * Counts a response; the returned function takes its end, once.
   * @throws RelayError RELAY_ERR_OVERLOADED, RELAY_ERR_RATE_LIMITED when there are too many
   */
  begin (ip: string): () => void {
    const { total, perAddress } = this.#limits
    if (this.#open >= total) throw new RelayError('RELAY_ERR_OVERLOADED', 'too many responses are under way', { retryAfterSeconds: RETRY_S })
    if (this.#counts.of(ip) >= perAddress) throw new RelayError('RELAY_ERR_RATE_LIMITED', `more than ${perAddress} responses are under way`, { retryAfterSeconds: RETRY_S })
    this.#open++
    this.#counts.add(ip)
    let ended = false
    return () => {
      if (ended) return
      ended = true
      this.#open--
      this.#counts.remove(ip)
    }
  }
}
