/** Rows of one table that are remembered; what comes besides is added to {@link OTHER}. */
export const MAX_ROWS = 2_000
export const OTHER = '(others)'
/** After this time something counts half, ms: a rate follows within seconds and does not flicker. */
const HALF_LIFE_MS = 10_000
/** Requests a row must count for to be kept. */
const LEAST = 0.01

/** What is looked at of a record of the access log. */
export interface CountedRecord {
  readonly object?: string | undefined
  readonly remote: string
  readonly superNode?: string | undefined
  readonly status: number
  readonly bytes: number
  /** In the words of RFC 9211. */
  readonly cache?: string | undefined
}

/** Rates of one object, viewer or super-node, a second. */
export interface TopRow {
  readonly name: string
  readonly requests: number
  readonly bytes: number
  /** Share of them that the cache had; of a super-node there are none. */
  readonly hits: number
  /** Share of them that were answered with an error. */
  readonly errors: number
}

interface Counts {
  requests: number
  bytes: number
  hits: number
  errors: number
}

export const TOP_TABLES = ['objects', 'viewers', 'superNodes'] as const
export type TopReport = Readonly<Record<typeof TOP_TABLES[number], readonly TopRow[]>> & {
  /** All requests of them a second, and bytes. */
  readonly total: Omit<TopRow, 'name'>
  /** Records that did not come. */
  readonly lost: number
}

/** One table: counts by name, which fade. */
export class FadingCounts {
  readonly #counts = new Map<string, Counts>()
  readonly #maxRows: number

  constructor (maxRows = MAX_ROWS) {
    this.#maxRows = maxRows
  }

  get rows (): number { return this.#counts.size }

  add (name: string, { status, bytes, cache }: CountedRecord): void {
    const key = this.#counts.has(name) || this.#counts.size < this.#maxRows - 1 ? name : OTHER
    const counts = this.#counts.get(key) ?? { requests: 0, bytes: 0, hits: 0, errors: 0 }
    counts.requests++
    counts.bytes += bytes
    if (cache?.startsWith('hit') === true) counts.hits++
    if (status === 0 || status >= 400) counts.errors++
    this.#counts.set(key, counts)
  }

  /** @param share what is left of everything */
  fade (share: number): void {
    for (const [name, counts] of this.#counts) {
      counts.requests *= share
      counts.bytes *= share
      counts.hits *= share
      counts.errors *= share
      if (counts.requests < LEAST) this.#counts.delete(name)
    }
  }

  /** The busiest, of bytes and then of requests. @param seconds that the counts are of */
  top (count: number, seconds: number): TopRow[] {
    return [...this.#counts].sort(([, a], [, b]) => b.bytes - a.bytes || b.requests - a.requests).slice(0, count).map(([name, counts]) => rowOf(name, counts, seconds))
  }
}

function rowOf (name: string, { requests, bytes, hits, errors }: Counts, seconds: number): TopRow {
  return { name, requests: requests / seconds, bytes: bytes / seconds, hits: requests === 0 ? 0 : hits / requests, errors: requests === 0 ? 0 : errors / requests }
}

/** Who asks for what, from records as they come: rates that fade, or of the whole time where nothing is made to fade. */
export class TopTally {
  readonly #tables = { objects: new FadingCounts(), viewers: new FadingCounts(), superNodes: new FadingCounts() }
  readonly #total = new FadingCounts()
  /** Milliseconds that the counts are of. */
  #ms = 0
  #lost = 0

  take (record: CountedRecord): void {
    // Health, metrics and the admin API have no object; so have requests of viewers that are not about one.
    if (record.object === undefined) return
    this.#total.add('', record)
    this.#tables.objects.add(record.object, record)
    this.#tables.viewers.add(record.remote, record)
    if (record.superNode !== undefined) this.#tables.superNodes.add(record.superNode, record)
  }

  lost (records: number): void { this.#lost += records }

  /** @param ms since this was called last */
  passed (ms: number): void { this.#ms += ms }

  fade (ms: number): void {
    const share = 0.5 ** (ms / HALF_LIFE_MS)
    for (const table of [this.#total, ...Object.values(this.#tables)]) table.fade(share)
    this.#ms *= share
  }

  /** @param count rows of each table */
  report (count: number): TopReport {
    const seconds = Math.max(0.001, this.#ms / 1_000)
    const [total = rowOf('', { requests: 0, bytes: 0, hits: 0, errors: 0 }, 1)] = this.#total.top(1, seconds)
    const { requests, bytes, hits, errors } = total
    const { objects, viewers, superNodes } = this.#tables
    return { total: { requests, bytes, hits, errors }, objects: objects.top(count, seconds), viewers: viewers.top(count, seconds), superNodes: superNodes.top(count, seconds), lost: this.#lost }
  }
}
