/** Who holds the spool of a fill: its writer, every reader, and every read under way. The last to leave closes it. */
export class FillHolds {
  readonly #close: () => Promise<void> | undefined
  /** The writer's. */
  #holds = 1
  #readers = 0

  /** @param close closes the spool, if there is one; called once */
  constructor (close: () => Promise<void> | undefined) {
    this.#close = close
  }

  get readers (): number { return this.#readers }

  /** A reader joins; it calls the returned function when it leaves. Undefined when the spool is closed. */
  join (): (() => void) | undefined {
    if (this.#holds === 0) return undefined
    this.#holds++
    this.#readers++
    let left = false
    return () => {
      if (left) return
      left = true
      this.#readers--
      void this.letGo()
    }
  }

  /** Reads while the spool is there, whoever leaves meanwhile. @throws Error when nobody holds it; what reading throws */
  async during<T> (read: () => Promise<T>): Promise<T> {
    if (this.#holds === 0) throw new Error('read without join')
    this.#holds++
    try {
      return await read()
    } finally {
      void this.letGo()
    }
  }

  /** The writer has ended, or a read. */
  async letGo (): Promise<void> {
    this.#holds--
    if (this.#holds === 0) await this.#close()
  }
}
