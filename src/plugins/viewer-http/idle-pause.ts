/** A socket, or a session of HTTP/2. */
export interface TimedConnection {
  setTimeout (ms: number): unknown
}

/** Keeps a connection from being closed for silence while the silence is ours: a response of it waits for bandwidth. */
export class IdlePause {
  readonly #idleTimeoutMs: number
  /** Responses that wait, by connection. */
  readonly #waiting = new WeakMap<TimedConnection, number>()

  /** @param idleTimeoutMs silence after which a connection is closed otherwise */
  constructor (idleTimeoutMs: number) {
    this.#idleTimeoutMs = idleTimeoutMs
  }

  /** @param waits whether a response begins to wait, or ends waiting */
  note (connection: TimedConnection, waits: boolean): void {
    const before = this.#waiting.get(connection) ?? 0
    const now = before + (waits ? 1 : -1)
    this.#waiting.set(connection, now)
    if (before === 0) connection.setTimeout(0)
    else if (now === 0) connection.setTimeout(this.#idleTimeoutMs)
  }
}
