import { deferred, type Deferred } from '../../base/deferred.ts'
import { RelayError } from '../../base/errors.ts'
import type { SessionRow } from '../../channel/from-gateway.ts'

/** A question (list, disconnect) that is not answered by then is given up, ms. */
const ANSWER_MS = 2_000

type GatewayAnswer = readonly SessionRow[] | boolean

/** Questions of operators to the gateway, each under an id of its own. */
export class GatewayQuestions {
  readonly #waiting = new Map<number, Deferred<GatewayAnswer>>()
  #next = 0

  get size (): number { return this.#waiting.size }

  /** @throws RelayError RELAY_ERR_GATEWAY when it does not answer, or ends */
  async ask (send: (id: number) => void): Promise<GatewayAnswer> {
    const id = this.#next++
    const answer = deferred<GatewayAnswer>()
    this.#waiting.set(id, answer)
    const timer = setTimeout(() => {
      this.#waiting.delete(id)
      answer.reject(new RelayError('RELAY_ERR_GATEWAY', 'the gateway does not answer'))
    }, ANSWER_MS)
    send(id)
    try {
      return await answer.promise
    } finally {
      clearTimeout(timer)
    }
  }

  answered (id: number, value: GatewayAnswer): void {
    this.#waiting.get(id)?.resolve(value)
    this.#waiting.delete(id)
  }

  /** The gateway that was asked is gone. */
  ended (): void {
    for (const question of this.#waiting.values()) question.reject(new RelayError('RELAY_ERR_GATEWAY', 'the gateway ended'))
    this.#waiting.clear()
  }
}
