/** A server-sent event. */
export interface ServerEvent {
  readonly event: string
  readonly data: string
}

/** Longest event that is kept, characters: those of the relay are some thousands. */
export const MAX_EVENT = 65_536

/** Server-sent events out of pieces of text, however they were cut (HTML Standard §9.2.6); ids and retries are of no use here. Sans-IO. */
export class EventLines {
  #rest = ''
  #event = ''
  #data: string[] = []
  #size = 0
  /** The line that is being read is too long, and what comes of it is not kept. */
  #skipping = false

  push (text: string): ServerEvent[] {
    const found: ServerEvent[] = []
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?=[^])/)
    this.#rest = lines.pop() ?? ''
    for (const line of lines) {
      if (this.#skipping) {
        this.#skipping = false
        continue
      }
      this.#take(line, found)
    }
    if (this.#rest.length > MAX_EVENT) {
      this.#rest = ''
      this.#skipping = true
      // Nor is the event that it belongs to.
      this.#size = Infinity
    }
    return found
  }

  #take (line: string, found: ServerEvent[]): void {
    if (line === '') {
      if (this.#data.length > 0 && this.#size <= MAX_EVENT) found.push({ event: this.#event === '' ? 'message' : this.#event, data: this.#data.join('\n') })
      this.#event = ''
      this.#data = []
      this.#size = 0
      return
    }
    const [, name = '', value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? []
    if (name === 'event') this.#event = value
    if (name !== 'data') return
    this.#size += value.length
    if (this.#size <= MAX_EVENT) this.#data.push(value)
  }
}
