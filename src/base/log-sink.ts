import { write as writeFile } from 'node:fs'
import { systemTimers, type Timers } from './clock.ts'

/** Lines that wait for a reader, characters: some thousand requests. */
const MAX_WAITING = 1024 * 1024
/** Characters of one write: as much as a pipe of Linux holds. */
const BATCH = 65_536
/** Lines that come within this time leave in one call, ms: a call for each costs more than all the rest of a line, and nobody notices. */
export const TOGETHER_MS = 10
/** Pause before a pipe that is full is tried again, ms. */
const RETRY_MS = 50
const NEWLINE = 0x0a

type Write = (bytes: Buffer, done: (error: Error | null, written: number) => void) => void

export interface LogSinkOptions {
  readonly write: Write
  /** The line that tells how many are missing before it. */
  readonly note: (dropped: number) => string
  readonly maxWaiting?: number
  /** Lines that come within this time are written in one call, ms; each as soon as the one before is written, without it. */
  readonly togetherMs?: number
  readonly timers?: Timers
}

/** Writes to an open file, without waiting for it. */
export function fileWriter (fd: number): Write {
  return (bytes, done) => { writeFile(fd, bytes, 0, bytes.length, null, done) }
}

/**
 * Where log lines go: written behind the back of whoever logs, one write at a time, in bounded memory. What a reader that has stopped leaves no room
 * for is dropped and counted, so that nobody has to read for the relay to run.
 */
export class LogSink {
  readonly #options: LogSinkOptions
  readonly #timers: Timers
  readonly #maxWaiting: number
  #lines: string[] = []
  #waiting = 0
  #batch: Buffer = Buffer.alloc(0)
  #batchLines = 0
  /** What was written last ends in the middle of a line. */
  #cut = false
  /** Whether lines are on their way: a write is under way, or its pipe is tried again soon. */
  #busy = false
  #writing = false
  /** Ends the wait for more lines. */
  #leave: (() => void) | undefined
  /** Nothing more is written. */
  #over = false
  #dropped = 0
  #untold = 0
  #whenEmpty: (() => void)[] = []

  constructor (options: LogSinkOptions) {
    this.#options = options
    this.#timers = options.timers ?? systemTimers
    this.#maxWaiting = options.maxWaiting ?? MAX_WAITING
  }

  /** Lines dropped since the start. */
  get dropped (): number { return this.#dropped }
  /** Characters that wait, those being written included. */
  get waiting (): number { return this.#waiting + this.#batch.length }
  /** Whether a write is under way, which may hold a thread until somebody reads. */
  get writing (): boolean { return this.#writing }

  write (line: string): void {
    if (this.#over || this.waiting + line.length > this.#maxWaiting) return this.#drop(1)
    if (this.#untold > 0 && this.waiting * 2 <= this.#maxWaiting) {
      this.#push(this.#options.note(this.#untold))
      this.#untold = 0
    }
    this.#push(line)
    if (!this.#busy) this.#soon()
    else if (this.#waiting >= BATCH) this.#leave?.()
  }

  /** Resolves when everything is written, or after `ms`. The rest is then given up, and the last write has `ms` more to end. */
  async flush (ms: number): Promise<void> {
    this.#leave?.()
    if (this.#busy) await this.#rest(ms)
    if (!this.#busy) return
    this.#over = true
    if (this.#writing) await this.#rest(ms)
  }

  async #rest (ms: number): Promise<void> {
    await new Promise<void>(resolve => {
      // Not a timer that lets the process end: the last lines are what it waits for.
      const timer = setTimeout(resolve, ms)
      this.#whenEmpty.push(() => {
        clearTimeout(timer)
        resolve()
      })
    })
  }

  #push (line: string): void {
    this.#lines.push(line)
    this.#waiting += line.length
  }

  /** Waits for more lines, unless there are enough for a call. */
  #soon (): void {
    const { togetherMs = 0 } = this.#options
    if (togetherMs === 0 || this.#batch.length > 0 || this.#waiting === 0 || this.#waiting >= BATCH || this.#whenEmpty.length > 0) return this.#next()
    this.#busy = true
    const go = (): void => {
      this.#leave = undefined
      this.#next()
    }
    const cancel = this.#timers.after(togetherMs, go)
    this.#leave = () => {
      cancel()
      go()
    }
  }

  #drop (lines: number): void {
    this.#dropped += lines
    this.#untold += lines
  }

  #next (): void {
    if (this.#batch.length === 0) this.#take()
    this.#busy = this.#batch.length > 0 && !this.#over
    if (!this.#busy) {
      for (const wake of this.#whenEmpty.splice(0)) wake()
      return
    }
    this.#writing = true
    this.#options.write(this.#batch, (error, written) => {
      this.#writing = false
      if (error === null) {
        if (written > 0) this.#cut = this.#batch[written - 1] !== NEWLINE
        this.#batch = this.#batch.subarray(written)
      } else if ('code' in error && error.code === 'EAGAIN') {
        if (!this.#over) {
          this.#timers.after(RETRY_MS, () => { this.#next() })
          return
        }
      } else {
        this.#drop(this.#batchLines)
        this.#batch = Buffer.alloc(0)
      }
      this.#soon()
    })
  }

  #take (): void {
    let length = 0
    let count = 0
    while (count < this.#lines.length && (count === 0 || length < BATCH)) length += this.#lines[count++]?.length ?? 0
    this.#batchLines = count
    this.#batch = Buffer.from((this.#cut && count > 0 ? '\n' : '') + this.#lines.splice(0, count).join(''))
    this.#waiting -= length
  }
}
