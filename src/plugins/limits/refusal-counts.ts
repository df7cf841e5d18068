/** Answers in a row that refuse, after which a connection is closed: who goes on like that costs more than a new connection. */
export const MAX_REFUSALS = 100

/** What says that a viewer asks for too much: too many requests, or more than the relay can do. */
const REFUSING: ReadonlySet<number> = new Set([429, 503])

/** How many answers in a row have refused, for each connection. */
export class RefusalCounts {
  readonly #counts = new WeakMap<object, number>()

  /** Takes the status of an answer; whether the connection has collected too many refusals. */
  answered (connection: object, status: number): boolean {
    const refused = REFUSING.has(status)
    if (!refused && !this.#counts.has(connection)) return false
    const count = refused ? (this.#counts.get(connection) ?? 0) + 1 : 0
    this.#counts.set(connection, count)
    return count >= MAX_REFUSALS
  }
}
