import { AddressCounts } from '../../admission/address-counts.ts'
import { HandshakeLimiter } from '../../admission/handshake-limiter.ts'
import type { LimitNumbers } from '../../admission/limit-numbers.ts'
import { SharedBuckets } from '../../admission/shared-buckets.ts'
import { OpenResponses, type ResponseLimits } from './open-responses.ts'

/** How often each limit has refused since the relay started. */
export interface RefusedCounts {
  handshakesPerSecond: number
  handshakesPerSecondPerIp: number
  requests: number
  connectionsPerIp: number
}

/** The limits of a relay: numbers that may change at run time, what viewers of plain HTTP have used of them, and what was refused. */
export class Limits {
  #numbers: LimitNumbers
  readonly #listeners = new Set<(numbers: LimitNumbers) => void>()
  /** Requests over HTTP, and those over sessions that the gateway reports. */
  readonly requests: SharedBuckets
  /** Over HTTP and over sessions. */
  readonly responses: OpenResponses
  /** Connections of the viewer HTTP listener. */
  readonly connections = new AddressCounts()
  /** Handshakes of sessions whose engine tells no address: each takes a ticket, which is issued here. */
  readonly tickets: HandshakeLimiter
  readonly refused: RefusedCounts = { handshakesPerSecond: 0, handshakesPerSecondPerIp: 0, requests: 0, connectionsPerIp: 0 }

  constructor (numbers: LimitNumbers, responses: ResponseLimits) {
    this.#numbers = numbers
    this.responses = new OpenResponses(responses)
    this.tickets = new HandshakeLimiter(numbers)
    this.requests = new SharedBuckets(numbers.requestsPerSecondPerViewer, numbers.trackedIps)
  }

  get numbers (): LimitNumbers { return this.#numbers }

  /** Numbers that are named change, the others stay. */
  change (part: Partial<LimitNumbers>): void {
    this.#numbers = { ...this.#numbers, ...part }
    this.requests.change(this.#numbers.requestsPerSecondPerViewer, this.#numbers.trackedIps)
    this.tickets.change(this.#numbers)
    for (const listener of this.#listeners) listener(this.#numbers)
  }

  /** Called after every change; returns the end of the subscription. */
  onChange (listener: (numbers: LimitNumbers) => void): () => void {
    this.#listeners.add(listener)
    return () => { this.#listeners.delete(listener) }
  }
}
