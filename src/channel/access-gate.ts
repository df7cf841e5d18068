import { LogBudget } from '../base/log-budget.ts'
import type { AccessKind } from './access-record.ts'

/** What the access log takes. */
export interface AccessSettings {
  /** Whether records are written at all. */
  readonly writes: boolean
  /** Share of the hits that are written, 0 to 1. */
  readonly sampleHits: number
  readonly sampleMisses: number
  /** Whether requests for health and metrics are written. */
  readonly scrapes: boolean
  /** Whether somebody looks at the stream, which has every record. */
  readonly watched: boolean
}

export interface AccessGateOptions {
  readonly settings: AccessSettings
  /** In [0, 1). */
  readonly random: () => number
  /** Calls back once after so many ms. */
  readonly after: (ms: number, callback: () => void) => unknown
  /** Told each second in which failed ones were left out, how many. */
  readonly leftOut: (lines: number) => void
}

/** Lines about failed requests in a second: enough to see who is refused and why, and no flood. */
export const FAILED_LINES = 50
const PERIOD_MS = 1_000

/** Decides which responses get a record, before anything is made of them. One for each place that answers requests. */
export class AccessGate {
  settings: AccessSettings
  readonly #options: Omit<AccessGateOptions, 'settings'>
  readonly #budget = new LogBudget(FAILED_LINES)
  #waiting = false

  constructor ({ settings, ...options }: AccessGateOptions) {
    this.settings = settings
    this.#options = options
  }

  /** Whether nobody wants any record. */
  get closed (): boolean { return !this.settings.writes && !this.settings.watched }

  /**
   * Whether the record of a response is written; to be asked once for each.
   * @param failed refused, or broken off: those are always written, as far as the budget goes
   */
  writes (kind: AccessKind, failed: boolean): boolean {
    const { writes, sampleHits, sampleMisses, scrapes } = this.settings
    if (!writes) return false
    if (failed) return this.#spend()
    if (kind === 'hit') return this.#drawn(sampleHits)
    if (kind === 'miss') return this.#drawn(sampleMisses)
    return kind !== 'scrape' || scrapes
  }

  #drawn (share: number): boolean {
    return share >= 1 || (share > 0 && this.#options.random() < share)
  }

  #spend (): boolean {
    if (!this.#waiting) {
      this.#waiting = true
      this.#options.after(PERIOD_MS, () => { this.#renew() })
    }
    return this.#budget.spend()
  }

  #renew (): void {
    this.#waiting = false
    const leftOut = this.#budget.renew()
    if (leftOut > 0) this.#options.leftOut(leftOut)
  }
}
