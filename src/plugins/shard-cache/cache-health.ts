/** What can be wrong with the cache, the worst first: it hangs, it is full, it does not store, its index is not written. */
export const CACHE_PROBLEMS = ['hung', 'full', 'failing', 'index'] as const
export type CacheProblem = typeof CACHE_PROBLEMS[number]

const MESSAGES: Readonly<Record<CacheProblem, { readonly begins: string, readonly ends: string }>> = {
  hung: { begins: 'cache disk does not answer, its objects come from super-nodes', ends: 'cache disk answers again' },
  full: { begins: 'cache disk is nearly full, the cache keeps less than max_bytes', ends: 'cache disk has room again' },
  failing: { begins: 'cache disk does not store, objects pass through', ends: 'cache disk stores again' },
  index: { begins: 'cache index cannot be written', ends: 'cache index is written again' }
}

type Log = (level: 'info' | 'warn', message: string, fields: Record<string, unknown>) => void

/** The lasting problems of the cache: a line in the log when one begins and when it ends, and what `/ready` and metrics say meanwhile. */
export class CacheHealth {
  readonly #log: Log
  readonly #present = new Set<CacheProblem>()

  constructor (log: Log) {
    this.#log = log
  }

  /** The worst problem there is. */
  get worst (): CacheProblem | undefined { return CACHE_PROBLEMS.find(problem => this.#present.has(problem)) }

  has (problem: CacheProblem): boolean { return this.#present.has(problem) }

  /** @param fields for the line that says that it begins */
  set (problem: CacheProblem, present: boolean, fields: Record<string, unknown> = {}): void {
    if (this.#present.has(problem) === present) return
    if (present) this.#present.add(problem)
    else this.#present.delete(problem)
    this.#log(present ? 'warn' : 'info', MESSAGES[problem][present ? 'begins' : 'ends'], fields)
  }
}
