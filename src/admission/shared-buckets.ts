import { AddressBuckets } from './address-buckets.ts'

/** What addresses have spent: the key of each, and how many tokens. */
export type Spent = readonly (readonly [key: string, tokens: number])[]

/** Addresses of one report; those beyond it come with the next. */
export const MAX_REPORTED = 1_000
/** Of what was spent before the last second, buckets know nothing any more: a report is for a second or less, and in that nobody spends more than two buckets. */
const MOST_BUCKETS = 2

/**
 * One bucket for each address over two processes. Each keeps its own, decides by it alone, and tells the other now and then what was spent there. Both may
 * begin with a full bucket and fill it between two reports, and what is spent twice is paid back, so that both together never let through more than two
 * buckets and the rate times the time and one pause between reports.
 */
export class SharedBuckets extends AddressBuckets {
  readonly #spent = new Map<string, number>()

  /** Addresses that are to be reported. */
  get unreported (): number { return this.#spent.size }

  /** Spends a token, if there is one. */
  take (key: string, now: number): boolean {
    if (!this.allows(key, now)) return false
    this.spend(key, now)
    return true
  }

  override spend (key: string, now: number, tokens = 1): void {
    super.spend(key, now, tokens)
    const before = this.#spent.get(key)
    if (before === undefined && this.#spent.size >= this.maxAddresses) return
    this.#spent.set(key, Math.min(MOST_BUCKETS * this.perSecond, (before ?? 0) + tokens))
  }

  /** What was spent here and not reported yet, at most {@link MAX_REPORTED} addresses of it. */
  report (): [key: string, tokens: number][] {
    const report: [string, number][] = []
    for (const entry of this.#spent) {
      if (report.length === MAX_REPORTED) break
      report.push(entry)
    }
    for (const [key] of report) this.#spent.delete(key)
    return report
  }

  /** Takes a report of the other process. */
  charge (report: Spent, now: number): void {
    for (const [key, tokens] of report) super.spend(key, now, tokens)
  }
}
