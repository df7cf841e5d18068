import { LogBudget } from '../base/log-budget.ts'
import type { FromGateway } from '../channel/from-gateway.ts'

/** Log lines between two heartbeats. */
const LOG_LINES = 50

type GatewayLogLevel = 'debug' | 'info' | 'warn' | 'error'

/** The log of the gateway, which the relay writes. */
export class GatewayLog {
  readonly #send: (message: FromGateway) => void
  readonly #budget = new LogBudget(LOG_LINES)
  /** Whether anybody reads debug lines. */
  debug: boolean

  constructor (send: (message: FromGateway) => void, debug: boolean) {
    this.#send = send
    this.debug = debug
  }

  write (level: GatewayLogLevel, message: string, fields: Record<string, unknown>): void {
    if (level === 'debug' && !this.debug) return
    if (this.#budget.spend()) this.#send({ type: 'log', level, message: message.slice(0, 4_000), fields })
  }

  /** To be called with each heartbeat. */
  renew (): void {
    const dropped = this.#budget.renew()
    if (dropped > 0) this.write('warn', 'log lines dropped', { dropped })
  }
}
