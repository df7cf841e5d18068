import { createHash, type Hash } from 'node:crypto'
import type { Clock } from '../../base/clock.ts'
import { CHUNK_BYTES } from '../../storage/disk-files.ts'
import { isLost } from '../../storage/guarded-files.ts'
import { isPassing, type RotFinder } from '../shard-cache/verified-reads.ts'
import type { ScrubPassState, ScrubState } from './scrub-state.ts'

/** What became of an object. */
export type ScrubOutcome = 'verified' | 'rotted' | 'unreadable' | 'skipped'

/** A cached file opened by the scrub; it is not evicted until it is closed. */
export interface ScrubFile {
  readonly size: number
  /** Whether a lookup still finds it. */
  indexed (): boolean
  /** @returns how many bytes were read, 0 at the end of the file */
  read (into: Buffer, length: number, position: number): Promise<number>
  /** Tells the SHA-256 of all its bytes, lower-case hex; false when they have changed, and the entry is gone then. */
  judge (sha256: string, finder: RotFinder): boolean
  /** Drops the entry: its file cannot be read. */
  drop (): void
  close (): Promise<void>
}

/** The cache as the scrub sees it. */
export interface ScrubSource {
  /** At most `limit` ids after one, in order; none at the end. @throws RelayError while the index does not answer */
  ids (after: string, limit: number): Promise<string[]>
  /** Undefined when there is no such entry any more. @throws what the disk says */
  open (id: string): Promise<ScrubFile | undefined>
  /** Drops an entry whose file cannot be opened. */
  drop (id: string): void
}

export interface ScrubObserver {
  read (bytes: number): void
  done (outcome: ScrubOutcome): void
  passed (): void
}

export interface ScrubOptions {
  readonly source: ScrubSource
  /** 0: nothing is read. */
  readonly bytesPerSecond: number
  /** From the start of one pass to the start of the next, ms. */
  readonly intervalMs: number
  readonly clock: Clock
  readonly state: ScrubState
  /** Whether background work is allowed; while not, nothing is read and nothing is held. */
  readonly mayRun: () => boolean
  /** Whether viewers wait for the disk; it is theirs first. */
  readonly diskBusy: () => boolean
  readonly observer: ScrubObserver
}

/** Time until the next look while it may not run or has nothing to do, ms. */
export const LOOK_MS = 1_000
/** The same while others wait for the disk, ms. */
export const BUSY_MS = 50
/** Pause after a file that could not be read, ms: a disk that is gone does not empty the index in a moment. */
export const TROUBLE_MS = 1_000
/** How often a file is tried whose disk hangs. */
export const TRIES = 3
/** Ids asked of the index in one go. */
export const PAGE = 256
/** What an object costs besides its bytes, for opening it: as much as reading so many. */
const OPENING_BYTES = 4_096

interface Reading {
  readonly id: string
  readonly file: ScrubFile
  readonly hash: Hash
  position: number
}

/**
 * The pass over the cache, step by step: a step reads a chunk of one file at most, and says when the next one is due. Whoever runs it calls {@link step} again
 * then, never before the last has ended. Holds one file and one chunk of memory.
 */
export class Scrub {
  readonly #options: ScrubOptions
  readonly #state: ScrubState
  #buffer = Buffer.allocUnsafeSlow(0)
  #page: string[] = []
  #reading: Reading | undefined
  #tries = 0
  /** When the rate allows the next bytes, monotonic ms. */
  #dueAt = -Infinity
  #active = false

  constructor (options: ScrubOptions) {
    this.#options = options
    this.#state = options.state
  }

  get state (): Readonly<ScrubState> { return this.#state }
  get off (): boolean { return this.#options.bytesPerSecond === 0 }
  /** Whether the last step was part of a pass. */
  get active (): boolean { return this.#active }

  /** Begins a pass, if none is under way, and goes on from now on. */
  start (): void {
    this.#state.paused = false
    if (this.#state.pass === null) this.#begin()
  }

  /** Stands still until {@link start}, also after a restart. */
  pause (): void {
    this.#state.paused = true
  }

  /** Gives back what it holds; the file is read anew from its start when the pass goes on. */
  async release (): Promise<void> {
    const { file } = this.#reading ?? {}
    this.#reading = undefined
    this.#active = false
    await file?.close()
  }

  /** @returns ms until the next step; never rejects */
  async step (): Promise<number> {
    const { mayRun, diskBusy, clock, intervalMs } = this.#options
    if (this.off || this.#state.paused || !mayRun()) {
      await this.release()
      return LOOK_MS
    }
    const pass = this.#state.pass
    if (pass === null) {
      const now = clock.now()
      // A clock that was set back does not keep it waiting for longer than the interval.
      const dueAt = Math.min(this.#state.last?.startedAt ?? -Infinity, now) + intervalMs
      if (now >= dueAt) this.#begin()
      return now >= dueAt ? 0 : Math.min(dueAt - now, LOOK_MS)
    }
    this.#active = true
    const wait = this.#dueAt - clock.monotonic()
    // Whole ones: a clock may not be able to show less.
    if (wait > 0) return Math.ceil(wait)
    if (diskBusy()) return BUSY_MS
    if (this.#reading === undefined) return await this.#open(pass)
    return await this.#readOn(pass, this.#reading)
  }

  #begin (): void {
    this.#page = []
    this.#state.pass = { startedAt: this.#options.clock.now(), cursor: '', bytes: 0, verified: 0, rotted: 0, unreadable: 0, skipped: 0 }
  }

  /** Opens the next file. What lies before the cursor has had its turn, or was stored since the pass began. */
  async #open (pass: ScrubPassState): Promise<number> {
    const { source } = this.#options
    if (this.#page.length === 0) {
      try {
        this.#page = await source.ids(pass.cursor, PAGE)
      } catch {
        return LOOK_MS
      }
      if (this.#page.length === 0) return this.#end(pass)
    }
    const id = this.#page[0] ?? ''
    try {
      const file = await source.open(id)
      if (file === undefined) return this.#past(pass, id, undefined)
      this.#spend(OPENING_BYTES)
      this.#reading = { id, file, hash: createHash('sha256'), position: 0 }
      return 0
    } catch (error) {
      return this.#failed(pass, id, error, () => { source.drop(id) })
    }
  }

  async #readOn (pass: ScrubPassState, reading: Reading): Promise<number> {
    const { id, file, hash } = reading
    if (!file.indexed()) {
      await this.#close()
      return this.#past(pass, id, undefined)
    }
    const length = Math.min(CHUNK_BYTES, file.size - reading.position)
    if (length > 0) {
      if (this.#buffer.length === 0 || isLost(this.#buffer)) this.#buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES)
      let bytes: number
      try {
        bytes = await file.read(this.#buffer, length, reading.position)
        if (bytes === 0) throw new Error('the file ends before its size')
      } catch (error) {
        await this.#close()
        return this.#failed(pass, id, error, () => { file.drop() })
      }
      this.#spend(bytes)
      this.#options.observer.read(bytes)
      hash.update(this.#buffer.subarray(0, bytes))
      reading.position += bytes
      if (reading.position < file.size) return 0
    }
    // Purged while its last bytes were read: nobody needs to know.
    const outcome = !file.indexed() ? undefined : file.judge(hash.digest('hex'), 'scrub') ? 'verified' : 'rotted'
    if (outcome === 'verified') pass.bytes += file.size
    await this.#close()
    return this.#past(pass, id, outcome)
  }

  async #close (): Promise<void> {
    const { file } = this.#reading ?? {}
    this.#reading = undefined
    await file?.close()
  }

  #failed (pass: ScrubPassState, id: string, error: unknown, drop: () => void): number {
    if (isPassing(error)) {
      if (++this.#tries >= TRIES) this.#past(pass, id, 'skipped')
    } else {
      drop()
      this.#past(pass, id, 'unreadable')
    }
    return TROUBLE_MS
  }

  /** Through with one object. */
  #past (pass: ScrubPassState, id: string, outcome: ScrubOutcome | undefined): number {
    this.#tries = 0
    this.#page.shift()
    pass.cursor = id
    if (outcome !== undefined) {
      pass[outcome]++
      this.#options.observer.done(outcome)
    }
    return 0
  }

  #end ({ startedAt, bytes, verified, rotted, unreadable, skipped }: ScrubPassState): number {
    this.#state.last = { startedAt, bytes, verified, rotted, unreadable, skipped, endedAt: this.#options.clock.now() }
    if (skipped === 0) this.#state.verifiedSince = startedAt
    this.#state.pass = null
    this.#active = false
    this.#options.observer.passed()
    return 0
  }

  /** Keeps to the rate: the next bytes come when those of before have had their time. What was not used is not saved up. */
  #spend (bytes: number): void {
    this.#dueAt = Math.max(this.#dueAt, this.#options.clock.monotonic()) + bytes / this.#options.bytesPerSecond * 1_000
  }
}
