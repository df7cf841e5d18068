import type { AccessRecord } from '../channel/access-record.ts'
import { MAX_ACCESS_RECORDS, type FromGateway, type SendToRelay } from '../channel/from-gateway.ts'

/** Records that wait for the relay to take what was sent before; the channel has no back-pressure of its own. */
export const MAX_WAITING = 2_048
/** What is recorded within this time goes in one message, ms. */
export const TOGETHER_MS = 50

export interface AccessReportsOptions {
  readonly send: SendToRelay
  /** Calls back once after so many ms. */
  readonly after: (ms: number, callback: () => void) => unknown
}

/** Records of the access log on their way to the relay: in batches, one of which is under way at a time. What does not fit is dropped and counted. */
export class AccessReports {
  readonly #options: AccessReportsOptions
  #waiting: [record: AccessRecord, written: boolean][] = []
  #leftOut = 0
  #missed = 0
  /** Whether the next batch waits for more, or for the one before it. */
  #due = false

  constructor (options: AccessReportsOptions) {
    this.#options = options
  }

  get waiting (): number { return this.#waiting.length }

  /** @param written whether it is to be a line */
  take (record: AccessRecord, written: boolean): void {
    if (this.#waiting.length >= MAX_WAITING) this.#missed++
    else this.#waiting.push([record, written])
    this.#plan()
  }

  /** Failed requests without a line. */
  leftOut (lines: number): void {
    this.#leftOut += lines
    this.#plan()
  }

  #plan (): void {
    if (this.#due) return
    this.#due = true
    this.#options.after(TOGETHER_MS, () => { this.#send() })
  }

  #send (): void {
    const records = this.#waiting.splice(0, MAX_ACCESS_RECORDS)
    const message: FromGateway = { type: 'access', records, leftOut: this.#leftOut, missed: this.#missed }
    this.#leftOut = 0
    this.#missed = 0
    this.#options.send(message, () => {
      if (this.#waiting.length >= MAX_ACCESS_RECORDS) return this.#send()
      this.#due = false
      if (this.#waiting.length + this.#leftOut + this.#missed > 0) this.#plan()
    })
  }
}
