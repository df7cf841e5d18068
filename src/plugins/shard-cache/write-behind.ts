import { systemTimers, type Timers } from '../../base/clock.ts'
import { deferred } from '../../base/deferred.ts'
import { DiskHangsError } from '../../storage/disk-queue.ts'
import type { EntryRecord } from './entry.ts'
import type { IndexDb } from './index-db.ts'

export interface WriteBehindOptions {
  /** Changed ids kept in memory before a flush starts by itself. */
  readonly batchSize: number
  /** Changed ids kept in memory at most; beyond it recency updates are dropped, stores and removals never are. */
  readonly maxPending: number
  /** Time a batch may take, ms; then nobody waits for it any more. Any time by default. */
  readonly timeoutMs?: number
  readonly timers?: Timers
  readonly onError: (error: unknown) => void
  readonly onWritten?: () => void
}

/**
 * Collects index changes and writes them in batches, so that a hit costs no disk I/O. The last change of an id wins; a batch that
 * fails is kept and tried again with the next flush. One that does not end is late: whoever waited goes on, and no other begins beside it.
 */
export class WriteBehind {
  readonly #db: IndexDb
  readonly #options: WriteBehindOptions
  #pending = new Map<string, EntryRecord | null>()
  #writing: Promise<void> | undefined
  /** Settles when the batch has ended or is late. */
  #waited: Promise<unknown> = Promise.resolve()
  #late = false
  /** Changes in the batch being written: still in memory, and back in pending if it fails. */
  #inFlight = 0
  /** After a failure the next try is left to whoever calls flush, or a full disk would cost a batch at every change. */
  #failed = false
  /** Recency updates dropped because too much was pending. */
  dropped = 0

  constructor (db: IndexDb, options: WriteBehindOptions) {
    this.#db = db
    this.#options = options
  }

  /** Whether a batch is being written. */
  get writing (): boolean { return this.#writing !== undefined }
  /** Whether a batch is being written for longer than it may take: the disk of the index hangs. */
  get late (): boolean { return this.#late }
  /** Changes kept in memory now; an id that changes again while it is being written counts twice. */
  get pending (): number { return this.#pending.size + this.#inFlight }

  /** Hits and recency changed; may be dropped under pressure. The record is read when the batch is written. */
  touched (id: string, record: EntryRecord): void {
    if (this.pending >= this.#options.maxPending && !this.#pending.has(id)) {
      this.dropped++
      return
    }
    this.#mark(id, record)
  }

  stored (id: string, record: EntryRecord): void {
    this.#mark(id, record)
  }

  removed (id: string): void {
    this.#mark(id, null)
  }

  /** Writes everything marked so far; resolves also when the disk refuses or does not answer, see `onError`. */
  async flush (): Promise<void> {
    // One batch at a time keeps the order of changes to an id; whoever waits for more than the running batch goes round again.
    while (this.#writing !== undefined && !this.#late) await this.#waited
    if (this.#pending.size === 0 || this.#late) return
    this.#begin()
    await this.#waited
  }

  #begin (): void {
    const { timeoutMs, timers = systemTimers, onError } = this.#options
    const givenUp = deferred<undefined>()
    const cancel = timeoutMs === undefined
      ? () => {}
      : timers.after(timeoutMs, () => {
        this.#late = true
        onError(new DiskHangsError('TIMEOUT'))
        givenUp.resolve(undefined)
      })
    const writing = this.#writing = this.#writeBatch().finally(() => {
      cancel()
      this.#writing = undefined
      this.#late = false
    })
    this.#waited = Promise.race([writing, givenUp.promise])
  }

  #mark (id: string, record: EntryRecord | null): void {
    this.#pending.set(id, record)
    if (this.#pending.size >= this.#options.batchSize && this.#writing === undefined && !this.#failed) void this.flush()
  }

  async #writeBatch (): Promise<void> {
    const batch = this.#pending
    this.#pending = new Map()
    this.#inFlight = batch.size
    try {
      await this.#db.write(batch)
      this.#failed = false
      this.#options.onWritten?.()
    } catch (error) {
      this.#failed = true
      for (const [id, record] of batch) {
        if (!this.#pending.has(id)) this.#pending.set(id, record)
      }
      this.#options.onError(error)
    } finally {
      this.#inFlight = 0
    }
  }
}
