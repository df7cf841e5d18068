import { Serial } from '../../base/serial.ts'
import type { AccessRecord } from '../../channel/access-record.ts'
import { UsageTable, type UsageRow } from './usage-table.ts'

/** What an hour is counted by. */
export const USAGE_KEYS = ['cid', 'subject'] as const
export type UsageKey = typeof USAGE_KEYS[number]

const HOUR_MS = 3_600_000

/** What was served in an hour, or in a part of one. */
export interface UsageHour {
  /** Milliseconds since the Unix epoch. */
  readonly from: number
  readonly to: number
  /** Whether it is a whole hour: neither the relay's first nor its last, nor the one under way. */
  readonly whole: boolean
  /** Responses that were not counted: their records were lost on the way from the gateway. */
  readonly missed: number
  readonly rows: Readonly<Record<UsageKey, readonly UsageRow[]>>
}

export interface UsageOptions {
  /** Rows of an hour, of each key. */
  readonly rows: number
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number
  /** Takes the lines of an hour that has ended. */
  readonly write: (lines: string) => Promise<void>
  readonly failed: (error: unknown) => void
}

const hourOf = (ms: number): number => Math.floor(ms / HOUR_MS) * HOUR_MS

/** A line for each row. */
export function linesOf ({ from, to, whole, missed, rows }: UsageHour): string {
  const head = { from: new Date(from).toISOString(), to: new Date(to).toISOString(), whole, ...missed > 0 ? { missed } : {} }
  return USAGE_KEYS.flatMap(by => rows[by].map(({ key, ...sums }) => `${JSON.stringify({ ...head, by, key, ...sums })}\n`)).join('')
}

/** Counts responses by the hour. Hours end by the clock, whether anything is served or not. */
export class Usage {
  readonly #options: UsageOptions
  readonly #writing = new Serial()
  #tables: Readonly<Record<UsageKey, UsageTable>>
  #from: number
  #missed = 0
  #previous: UsageHour | undefined

  constructor (options: UsageOptions) {
    this.#options = options
    this.#from = options.now()
    this.#tables = this.#empty()
  }

  /** Rows that are kept now. */
  sizes (): Readonly<Record<UsageKey, number>> { return { cid: this.#tables.cid.size, subject: this.#tables.subject.size } }

  /** The hour under way, as far as it has come. */
  get current (): UsageHour { return this.#hour(this.#options.now()) }

  /** The last one that has ended; undefined in the first. */
  get previous (): UsageHour | undefined { return this.#previous }

  take ({ kind, object, subject, bytes, status, complete }: AccessRecord): void {
    if (kind === 'admin' || kind === 'scrape') return
    this.turn()
    const used = { bytes, hit: kind === 'hit', failed: status === 0 || status >= 400 || !complete }
    if (object !== undefined) this.#tables.cid.count(object.split('/', 1)[0] ?? '', used)
    this.#tables.subject.count(subject ?? '', used)
  }

  missed (records: number): void { this.#missed += records }

  /** Ends the hour, if it is over; to be called now and then. A clock that is set back ends nothing. */
  turn (): void {
    const now = this.#options.now()
    if (hourOf(now) > hourOf(this.#from)) this.#end(hourOf(this.#from) + HOUR_MS, hourOf(now))
  }

  /** Writes the hour under way, as far as it has come. */
  async close (): Promise<void> {
    const now = this.#options.now()
    this.#end(now, now)
    await this.#writing.ended()
  }

  #end (to: number, next: number): void {
    const hour = this.#hour(to)
    this.#previous = hour
    this.#tables = this.#empty()
    this.#from = next
    this.#missed = 0
    const lines = linesOf(hour)
    if (lines !== '') void this.#writing.run(async () => { await this.#options.write(lines).catch(this.#options.failed) })
  }

  #hour (to: number): UsageHour {
    const { cid, subject } = this.#tables
    return { from: this.#from, to, whole: to - this.#from === HOUR_MS, missed: this.#missed, rows: { cid: cid.report(), subject: subject.report() } }
  }

  #empty (): Record<UsageKey, UsageTable> {
    const { rows } = this.#options
    return { cid: new UsageTable(rows), subject: new UsageTable(rows) }
  }
}
