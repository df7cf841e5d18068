import { openGate } from '../../admission/handshake-limiter.ts'
import { systemTimers, type Timers } from '../../base/clock.ts'
import type { SessionRequest } from '../../protocol/transport-session.ts'
import type { HandshakeFailure } from '../../channel/gateway-counters.ts'
import type { ListenerEvents, ListenerOptions } from './viewer-transport.ts'

/** What to answer to the request of a session; `detail` is for the log, never for the peer. */
export type AdmissionVerdict =
  | { readonly accept: true }
  | { readonly accept: false, readonly status: number, readonly failure: HandshakeFailure, readonly detail: string }

type AdmissionOptions = Pick<ListenerOptions, 'path' | 'maxSessions' | 'handshakeTimeoutMs'>

/**
 * The admission that every engine shares: path, session cap, the decision of the layer above and its time limit. A request that is
 * accepted holds a place until `release()`.
 */
export class Admission {
  readonly #options: AdmissionOptions
  readonly #events: Pick<ListenerEvents, 'admit' | 'decide' | 'handshakeFailed' | 'log'>
  readonly #timers: Timers
  #taken = 0
  #pending = 0
  #open = true

  constructor (options: AdmissionOptions, events: Pick<ListenerEvents, 'admit' | 'decide' | 'handshakeFailed' | 'log'>, timers: Timers = systemTimers) {
    this.#options = options
    this.#events = events
    this.#timers = timers
  }

  /** Sessions accepted and not yet released. */
  get taken (): number { return this.#taken - this.#pending }
  /** Requests waiting for a decision. */
  get pending (): number { return this.#pending }

  /** Refuses everything from now on. */
  shut (): void { this.#open = false }

  /** Gives back the place of one accepted request. */
  release (): void { this.#taken -= 1 }

  /**
   * Decides about one request; never rejects, and takes no longer than the handshake timeout. Refusals are counted here.
   * @param charged whether the limits have let this handshake in already
   */
  async ask (request: SessionRequest, charged: boolean): Promise<AdmissionVerdict> {
    const verdict = this.#limit(request, charged) ?? await this.#judge(request)
    if (!verdict.accept) this.#events.handshakeFailed(verdict.failure, verdict.detail)
    return verdict
  }

  #limit ({ peer }: SessionRequest, charged: boolean): AdmissionVerdict | undefined {
    const verdict = charged || peer === undefined ? 'admit' : (this.#events.admit ?? openGate)(peer.ip, this.#timers.now())
    return verdict !== 'admit' ? refuse(429, verdict, 'too many handshakes') : undefined
  }

  async #judge (request: SessionRequest): Promise<AdmissionVerdict> {
    if (!this.#open) return refuse(503, 'limit', 'listener is closing')
    if (request.path.split('?', 1)[0] !== this.#options.path) return refuse(404, 'refused', 'unknown path')
    if (this.#taken >= this.#options.maxSessions) return refuse(503, 'limit', `all ${this.#options.maxSessions} sessions are taken`)
    this.#taken += 1
    this.#pending += 1
    try {
      const verdict = await this.#decide(request)
      if (verdict.accept && !this.#open) return this.#giveBack(refuse(503, 'limit', 'listener is closing'))
      return verdict.accept ? verdict : this.#giveBack(verdict)
    } finally {
      this.#pending -= 1
    }
  }

  #giveBack (verdict: AdmissionVerdict): AdmissionVerdict {
    this.#taken -= 1
    return verdict
  }

  #decide (request: SessionRequest): Promise<AdmissionVerdict> {
    return new Promise(resolve => {
      const cancel = this.#timers.after(this.#options.handshakeTimeoutMs, () => { resolve(refuse(503, 'timeout', 'no decision in time')) })
      const settle = (verdict: AdmissionVerdict): void => { cancel(); resolve(verdict) }
      Promise.resolve().then(() => this.#events.decide(request)).then(
        decision => { settle(decision.accept ? { accept: true } : refuse(decision.status, decision.failure ?? 'refused', `decided ${decision.status}`)) },
        (error: unknown) => {
          this.#events.log('error', 'session decision failed', { error: String(error) })
          settle(refuse(500, 'refused', 'decision failed'))
        }
      )
    })
  }
}

function refuse (status: number, failure: HandshakeFailure, detail: string): AdmissionVerdict {
  return { accept: false, status, failure, detail }
}
