import { systemTimers, type Timers } from '../base/clock.ts'

/**
 * Streams whose writes the engine may have at the same time have at most so many bytes together: with 6 MiB of one more, which is what Chromium
 * takes unread of a stream, less than half of its 15 MiB for the connection, at which it gives new credit.
 */
const TOGETHER_BYTES = 1024 * 1024
/** With more bytes, one of so many that want to write does: what is under way spreads over all of them. */
const ONE_OF = 8
/** How long writes keep the others of their session waiting, milliseconds: longer than a page takes to cancel what it has begun. */
const TURN_MS = 1_000
/** The same while the engine has a write that has taken longer, as those do of which the viewer reads nothing: there may be many. */
const SHORT_TURN_MS = 100

interface Turn {
  readonly begin: () => void
  readonly bytes: number
}

/**
 * Whose writes the engine has, of all streams of a session. A write that waits for the credit of the whole connection hears of no STOP_SENDING
 * (quinn-proto looks at the credit first) and lets no reset past it; and credit that cancelled streams have used up comes back with their
 * reset only. So most large streams wait here, where they can be reset, until that takes long.
 */
export class WriteTurns {
  readonly #timers: Timers
  readonly #waiting = new Set<Turn>()
  readonly #current = new Set<Turn>()
  /** Those that had to let others pass. */
  readonly #overdue = new Set<Turn>()
  /** Of all that the engine has. */
  #bytes = 0
  #since = 0
  #stopWatch: (() => void) | undefined

  constructor (timers: Timers = systemTimers) {
    this.#timers = timers
  }

  /**
   * Calls `begin` when the engine may have this write, immediately if it may now.
   * @param bytes of its stream so far, with those of this write
   * @returns to be called once, when the engine is done with the write, or when the write is given up while it waits
   */
  take (bytes: number, begin: () => void): () => void {
    const turn: Turn = { begin, bytes }
    this.#waiting.add(turn)
    this.#next()
    return () => {
      if (!this.#waiting.delete(turn) && (this.#current.delete(turn) || this.#overdue.delete(turn))) this.#bytes -= turn.bytes
      this.#next()
    }
  }

  #next (): void {
    for (const turn of this.#waiting) {
      const some = this.#current.size
      if (some > 0 && (some + 1) * ONE_OF > some + this.#waiting.size && this.#bytes + turn.bytes > TOGETHER_BYTES) break
      this.#waiting.delete(turn)
      this.#current.add(turn)
      this.#bytes += turn.bytes
      this.#since = this.#timers.now()
      turn.begin()
    }
    if (this.#waiting.size > 0) return this.#watch()
    this.#stopWatch?.()
    this.#stopWatch = undefined
  }

  #watch (): void {
    this.#stopWatch ??= this.#timers.after(Math.max(0, this.#since + this.#turnMs() - this.#timers.now()), () => {
      this.#stopWatch = undefined
      if (this.#timers.now() - this.#since >= this.#turnMs()) {
        for (const turn of this.#current) this.#overdue.add(turn)
        this.#current.clear()
      }
      this.#next()
    })
  }

  #turnMs (): number { return this.#overdue.size > 0 ? SHORT_TURN_MS : TURN_MS }
}
