import type { FilePiece } from './file-pieces.ts'
import type { ReadPiece } from './piece-store.ts'

export interface OrderedReadOptions {
  readonly pieces: Iterator<FilePiece, void, undefined>
  readonly fetch: (piece: FilePiece) => Promise<ReadPiece>
  /** Bytes that are held while a piece is fetched, and until it is taken. */
  readonly cost: (piece: FilePiece) => number
  /** Most bytes held by pieces that are not taken yet, except that one piece always may be. */
  readonly windowBytes: number
  /** Most pieces fetched at the same time. */
  readonly parallel: number
}

interface Ahead {
  readonly cost: number
  readonly fetched: Promise<ReadPiece>
}

/** Fetches the pieces of a read beside each other and gives them in order, no further ahead of whoever takes them than a window of bytes. */
export class OrderedRead {
  readonly #options: OrderedReadOptions
  readonly #ahead: Ahead[] = []
  #next: FilePiece | undefined
  #isOver = false
  #held = 0
  #fetching = 0

  constructor (options: OrderedReadOptions) {
    this.#options = options
  }

  /** Bytes of pieces that are on their way or wait to be taken. */
  get held (): number { return this.#held }

  /** The next piece; undefined after the last. One call at a time. @throws what fetching it throws */
  async next (): Promise<ReadPiece | undefined> {
    this.#fill()
    const first = this.#ahead.shift()
    if (first === undefined) return undefined
    try {
      return await first.fetched
    } finally {
      this.#held -= first.cost
      this.#fill()
    }
  }

  #fill (): void {
    const { pieces, fetch, cost, windowBytes, parallel } = this.#options
    while (!this.#isOver && this.#fetching < parallel) {
      this.#next ??= pieces.next().value ?? undefined
      if (this.#next === undefined) {
        this.#isOver = true
        return
      }
      const bytes = cost(this.#next)
      if (this.#held > 0 && this.#held + bytes > windowBytes) return
      this.#held += bytes
      this.#fetching++
      const fetched = fetch(this.#next)
      this.#next = undefined
      this.#ahead.push({ cost: bytes, fetched })
      const ended = (): void => {
        this.#fetching--
        this.#fill()
      }
      // Whoever takes it meets the error; after one nothing more is begun.
      fetched.then(ended, () => { this.#isOver = true })
    }
  }
}
