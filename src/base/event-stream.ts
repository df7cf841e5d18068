import { Readable } from 'node:stream'
import type { Timers } from './clock.ts'

/** Silence after which a comment is sent, ms, so that nobody between takes the connection for dead. */
export const COMMENT_MS = 15_000

export interface EventStreamOptions {
  /** What the reader may be behind before events are lost, bytes. */
  readonly behindBytes: number
  readonly timers: Timers
  /** Called once, when the stream is over. */
  readonly closed: () => void
}

/** Server-sent events for one reader, in bounded memory: whoever does not read in time loses events, and nobody waits for him. */
export class EventStream {
  readonly stream: Readable
  readonly #options: EventStreamOptions
  #cancel: () => void = () => {}
  #sentAt = 0
  #ended = false
  #number = 0

  constructor (options: EventStreamOptions) {
    this.#options = options
    this.stream = new Readable({ highWaterMark: options.behindBytes, read: () => {} })
    this.stream.once('close', () => {
      this.#cancel()
      options.closed()
    })
    this.#wait(COMMENT_MS)
  }

  /** Whether the reader has as much before him as he may. */
  get full (): boolean { return this.stream.readableLength >= this.#options.behindBytes }

  /**
   * Sends an event, unless the reader is too far behind or gone.
   * @param data without ends of lines
   * @returns whether it was sent
   */
  send (event: string, data: string): boolean {
    if (this.#ended || this.stream.destroyed || this.full) return false
    this.#push(event, data)
    return true
  }

  /** Sends the last event, however far behind the reader is. */
  end (event: string, data: string): void {
    if (this.#ended || this.stream.destroyed) return
    this.#push(event, data)
    this.#end()
  }

  /** Sends what no reader takes for an event: that the stream is there. */
  comment (): void {
    if (!this.#ended && !this.stream.destroyed && this.stream.readableLength === 0) this.stream.push(':\n\n')
  }

  /** Ends it; a reader who has not taken what was sent is cut off. */
  cut (): void {
    if (!this.#ended && !this.stream.destroyed) this.#end()
    if (this.stream.readableLength > 0) this.stream.destroy()
  }

  #push (event: string, data: string): void {
    this.#sentAt = this.#options.timers.now()
    this.stream.push(`id: ${++this.#number}\nevent: ${event}\ndata: ${data}\n\n`)
  }

  #end (): void {
    this.#ended = true
    this.#cancel()
    this.stream.push(null)
  }

  #wait (ms: number): void {
    const { timers } = this.#options
    this.#cancel = timers.after(ms, () => {
      const silent = timers.now() - this.#sentAt
      if (silent < COMMENT_MS) return this.#wait(COMMENT_MS - silent)
      this.comment()
      this.#sentAt = timers.now()
      this.#wait(COMMENT_MS)
    })
  }
}
