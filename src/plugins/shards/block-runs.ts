import type { BlockSet } from '../shard-cache/block-set.ts'

/** Blocks that one request brings in, one after the other. */
export interface BlockRun {
  readonly first: number
  /** The block that comes next. */
  next: number
  /** Where it ends, exclusive. Another run begins there when somebody cannot wait for a block of it. */
  end: number
  /** Where that ends for which somebody waits, exclusive: what costs ten times as much goes no further. Not behind {@link first} when nobody does. */
  readonly soon: number
}

/** Requests of one fill at the same time: the first, and those of readers who went elsewhere. */
export const MAX_RUNS = 4
/** A block that is to come after so many others is waited for: asking for it beside would not be faster. */
export const NEAR_BLOCKS = 1

/** Which request of a fill brings in which blocks; none is brought in by two. Decides, and asks nobody. */
export class BlockRuns {
  readonly #blocks: number
  readonly #runs = new Set<BlockRun>()
  /** Where the next one begins that nobody asks for. */
  #cursor = 0

  constructor (blocks: number) {
    this.#blocks = blocks
  }

  get idle (): boolean { return this.#runs.size === 0 }

  /**
   * A block is to come.
   * @param taken blocks that are here, or may turn out to be
   * @param soon where that ends for which somebody waits, exclusive; the block itself when nobody does
   * @param most where the run ends at the latest, exclusive
   * @returns the run that has to be started for it; undefined when it is here, will be soon, or has to wait until another run ends
   */
  want (block: number, taken: BlockSet, soon = this.#blocks, most = this.#blocks): BlockRun | undefined {
    if (block >= this.#blocks || taken.has(block) || this.#runs.size >= MAX_RUNS) return undefined
    const coming = [...this.#runs].find(({ next, end }) => next <= block && block < end)
    if (coming !== undefined && block - coming.next <= NEAR_BLOCKS) return undefined
    const later = [...this.#runs].filter(({ next }) => next > block).map(({ next }) => next)
    const end = Math.max(block + 1, Math.min(taken.firstPresent(block), ...later, coming?.end ?? this.#blocks, most))
    const run = { first: block, next: block, end, soon: Math.min(soon, end) }
    if (coming !== undefined) coming.end = block
    this.#runs.add(run)
    this.#cursor = run.end
    return run
  }

  /** The block with which the rest goes on: after what came last, then from the start. */
  rest (here: BlockSet): number {
    const next = here.firstMissing(this.#cursor)
    return next < this.#blocks ? next : here.firstMissing(0)
  }

  /** It turns out that a run brings only what is waited for. */
  stopsSoon (run: BlockRun): void {
    run.end = Math.max(run.next, Math.min(run.end, run.soon))
    this.#cursor = run.end
  }

  end (run: BlockRun): void {
    this.#runs.delete(run)
  }
}
