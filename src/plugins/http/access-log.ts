import type { Logger } from '../../base/log.ts'
import { LogBudget } from '../../base/log-budget.ts'

/** Lines about refused requests in a period: enough to see who is refused and why, and no flood. */
const REFUSED_LINES = 50
const PERIOD_MS = 1_000

/** One line for each request, for refused ones of a listener {@link REFUSED_LINES} a second and the number of the others. */
export class AccessLog {
  readonly #log: Logger
  readonly #after: (ms: number, callback: () => void) => unknown
  readonly #budget = new LogBudget(REFUSED_LINES)
  #waiting = false

  constructor (log: Logger, after: (ms: number, callback: () => void) => unknown) {
    this.#log = log
    this.#after = after
  }

  /** Whether the level of the log lets its lines through. */
  get writes (): boolean { return this.#log.isLevelEnabled('info') }

  /** @param status of the answer */
  write (status: number, fields: Record<string, unknown>): void {
    if (status >= 400) {
      if (!this.#waiting) {
        this.#waiting = true
        this.#after(PERIOD_MS, () => { this.#renew() })
      }
      if (!this.#budget.spend()) return
    }
    this.#log.info(fields, 'request')
  }

  #renew (): void {
    this.#waiting = false
    const leftOut = this.#budget.renew()
    if (leftOut > 0) this.#log.info({ leftOut }, 'refused requests left out of the log')
  }
}
