/** What is counted of a response. */
export interface UsedBytes {
  readonly bytes: number
  readonly hit: boolean
  readonly failed: boolean
}

/** Sums of one key. */
export interface UsageSums {
  readonly requests: number
  readonly hits: number
  readonly errors: number
  readonly bytes: number
  readonly hitBytes: number
}

type Sums = { -readonly [K in keyof UsageSums]: UsageSums[K] }

/** A row of an hour; without `key`, of all that have none of their own. */
export interface UsageRow extends UsageSums {
  readonly key: string | null
}

/** How many times the rows that are told are kept while an hour goes on, so that whoever comes late can be among them. */
export const SLACK = 2

const nothing = (): Sums => ({ requests: 0, hits: 0, errors: 0, bytes: 0, hitBytes: 0 })

function add (to: Sums, { requests, hits, errors, bytes, hitBytes }: UsageSums): void {
  to.requests += requests
  to.hits += hits
  to.errors += errors
  to.bytes += bytes
  to.hitBytes += hitBytes
}

/** The busiest first. */
const busiest = ([, a]: readonly [string, UsageSums], [, b]: readonly [string, UsageSums]): number => b.bytes - a.bytes || b.requests - a.requests

/** So many of the rows, and in one row all of the others. @param rows the busiest first */
export function limitedRows (rows: readonly UsageRow[], limit: number): UsageRow[] {
  const named = rows.filter(({ key }) => key !== null)
  const others = [...named.splice(limit), ...rows.filter(({ key }) => key === null)]
  if (others.length === 0) return named
  const rest = nothing()
  for (const row of others) add(rest, row)
  return [...named, { key: null, ...rest }]
}

/**
 * Sums by key, in bounded memory: when there are {@link SLACK} times the rows, the least busy ones become part of the rest. So the sum of all rows is exact,
 * and a row is what its key had since it was last among the busiest: all of it for those that are busy for the whole hour.
 */
export class UsageTable {
  readonly #rows: number
  readonly #sums = new Map<string, Sums>()
  readonly #rest = nothing()

  /** @param rows that are told */
  constructor (rows: number) {
    this.#rows = rows
  }

  get size (): number { return this.#sums.size }

  count (key: string, { bytes, hit, failed }: UsedBytes): void {
    let sums = this.#sums.get(key)
    if (sums === undefined) {
      if (this.#sums.size >= this.#rows * SLACK) this.#fold()
      this.#sums.set(key, sums = nothing())
    }
    add(sums, { requests: 1, hits: hit ? 1 : 0, errors: failed ? 1 : 0, bytes, hitBytes: hit ? bytes : 0 })
  }

  /** The busiest, and at the end the rest, if there is any. */
  report (): UsageRow[] {
    const sorted = [...this.#sums].sort(busiest).map(([key, sums]) => ({ key, ...sums }))
    return limitedRows([...sorted, ...this.#rest.requests > 0 ? [{ key: null, ...this.#rest }] : []], this.#rows)
  }

  #fold (): void {
    for (const [key, sums] of [...this.#sums].sort(busiest).slice(this.#rows)) {
      add(this.#rest, sums)
      this.#sums.delete(key)
    }
  }
}
