import { close, open, write } from 'node:fs'
import { promisify } from 'node:util'
import { RelayError, systemCode } from '../../base/errors.ts'
import type { Timers } from '../../base/clock.ts'
import { LogSink, TOGETHER_MS } from '../../base/log-sink.ts'

const openFile = promisify(open)
/** Readable for the group, as log files are. */
const MODE = 0o640
/** Time that the last lines have to be written, ms. */
const LAST_LINES_MS = 500

/** What a file needs of its system; tests have one that is full. */
export interface AppendFiles {
  /** Opens a file for appending, and makes it where there is none; its descriptor. */
  open (path: string): Promise<number>
  write: (fd: number, bytes: Buffer, done: (error: Error | null, written: number) => void) => void
  close (fd: number): void
}

export const systemAppends: AppendFiles = {
  open: async path => await openFile(path, 'a', MODE),
  write: (fd, bytes, done) => { write(fd, bytes, 0, bytes.length, null, done) },
  close: fd => { close(fd, () => {}) }
}

/**
 * Lines appended to a file, one write at a time and in bounded memory; what a full or slow disk leaves no room for is dropped and counted. `reopen`
 * after a rotation goes on in the new file.
 */
export class AccessFile {
  readonly path: string
  readonly #files: AppendFiles
  readonly #sink: LogSink
  #fd: number
  #writing = false
  #closed = false
  #reopening: Promise<void> | undefined
  /** Descriptors that are not written to any more, of which one may still have a write under way. */
  #old: number[] = []

  private constructor (path: string, fd: number, files: AppendFiles, note: (dropped: number) => string, timers: Timers) {
    this.path = path
    this.#fd = fd
    this.#files = files
    this.#sink = new LogSink({
      note,
      togetherMs: TOGETHER_MS,
      timers,
      write: (bytes, done) => {
        this.#writing = true
        files.write(this.#fd, bytes, (error, written) => {
          this.#writing = false
          this.#closeOld()
          done(error, written)
        })
      }
    })
  }

  /**
   * @param note the line that tells how many are missing before it
   * @throws RelayError RELAY_ERR_CONFIG
   */
  static async open (path: string, note: (dropped: number) => string, timers: Timers, files: AppendFiles = systemAppends): Promise<AccessFile> {
    const fd = await files.open(path).catch((error: unknown) => {
      throw new RelayError('RELAY_ERR_CONFIG', `access_log.path ${path} cannot be opened: ${systemCode(error) ?? String(error)}`, { cause: error })
    })
    return new AccessFile(path, fd, files, note, timers)
  }

  get dropped (): number { return this.#sink.dropped }
  /** Characters that wait. */
  get waiting (): number { return this.#sink.waiting }
  /** Whether a write is under way, which may hold a thread. */
  get writing (): boolean { return this.#sink.writing }

  write (line: string): void { if (!this.#closed) this.#sink.write(line) }

  /** Opens the path anew; when that fails, the file of before stays. @throws the error of the system */
  async reopen (): Promise<void> {
    // One at a time: a disk that hangs holds a thread for each.
    await (this.#reopening ??= this.#reopen().finally(() => { this.#reopening = undefined }))
  }

  /** Writes what waits, within half a second, and closes the file. */
  async close (): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#sink.flush(LAST_LINES_MS)
    this.#old.push(this.#fd)
    if (!this.#writing) this.#closeOld()
  }

  async #reopen (): Promise<void> {
    const fd = await this.#files.open(this.path)
    this.#old.push(this.#closed ? fd : this.#fd)
    if (!this.#closed) this.#fd = fd
    if (!this.#writing) this.#closeOld()
  }

  #closeOld (): void {
    for (const fd of this.#old.splice(0)) this.#files.close(fd)
  }
}
