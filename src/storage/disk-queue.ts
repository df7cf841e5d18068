import { systemTimers, type Timers } from '../base/clock.ts'

/** Operations that wait for a thread; whoever comes then goes without the disk. */
const MAX_WAITING = 16_384
/** Deadlines are looked at so often within the shorter of them. */
const LOOKS = 8
/** What writing may take, of what reading may: a full queue of the disk lies before an fsync. */
const WRITE_PATIENCE = 5

/** A disk operation that did not end in time (`TIMEOUT`), or was not begun because too many have not (`HUNG`). */
export class DiskHangsError extends Error {
  override readonly name = 'DiskHangsError'
  readonly code: 'TIMEOUT' | 'HUNG'

  constructor (code: 'TIMEOUT' | 'HUNG') {
    super(code === 'TIMEOUT' ? 'the disk did not answer in time' : 'the disk does not answer')
    this.code = code
  }
}

export type DiskWork = 'read' | 'write'

export interface DiskQueueOptions {
  /** Operations at the same time: the threads there are for them. */
  readonly width: number
  /** Longest time an operation that reads may take, ms; one that writes gets five times as much. */
  readonly timeoutMs: number
  /** Told when the number of operations that are late has changed. */
  readonly onLate?: (late: number) => void
  readonly timers?: Timers
}

interface Operation {
  readonly kind: DiskWork
  /** Monotonic, ms, put off by the time in which this process did not run; a thread is not taken back before the operation ends. */
  dueAt: number
  readonly giveUp: () => void
  late: boolean
}

/**
 * The way to the disk. An operation holds a thread of Node's pool until it ends, and on a disk that hangs it does not end: nobody waits for it longer
 * than a deadline, and those that are late never take the last threads, which belong to everybody. Time in which this process did not get to run is not
 * the disk's: on a machine without a core to spare what the disk has long answered is not given up because nobody has looked.
 */
export class DiskQueue {
  readonly #options: DiskQueueOptions
  readonly #timers: Timers
  readonly #running = new Set<Operation>()
  readonly #waiting: { readonly begin: () => void, readonly refuse: () => void }[] = []
  #looking = false
  #shut = false
  #late = 0
  #lateWrites = 0

  constructor (options: DiskQueueOptions) {
    this.#options = options
    this.#timers = options.timers ?? systemTimers
  }

  get running (): number { return this.#running.size }
  get waiting (): number { return this.#waiting.length }
  /** Operations past their deadline that have not ended. */
  get late (): number { return this.#late }
  /** Whether it makes sense to begin to store something. */
  get takesWrites (): boolean { return this.#lateWrites === 0 && this.#late * 2 < this.#options.width }

  /**
   * Runs `work` as soon as there is a thread for it.
   * @param late takes what came of it after its caller had been told that it is late
   * @throws DiskHangsError
   */
  async run<T> (kind: DiskWork, work: () => Promise<T>, late: (result: T) => void = () => {}): Promise<T> {
    if (this.#late >= (this.#shut ? 1 : this.#options.width) || this.#waiting.length >= MAX_WAITING) throw new DiskHangsError('HUNG')
    return await new Promise<T>((resolve, reject) => {
      const begin = (): void => { this.#begin(kind, work, resolve, reject, late) }
      if (this.#running.size < this.#options.width) begin()
      else this.#waiting.push({ begin, refuse: () => { reject(new DiskHangsError('HUNG')) } })
    })
  }

  /** The relay stops: from now on one operation that is late is enough for the others not to be tried. */
  shut (): void {
    this.#shut = true
  }

  #begin<T> (kind: DiskWork, work: () => Promise<T>, resolve: (result: T) => void, reject: (error: unknown) => void, late: (result: T) => void): void {
    const { timeoutMs } = this.#options
    const operation: Operation = {
      kind,
      dueAt: this.#timers.now() + timeoutMs * (kind === 'write' && !this.#shut ? WRITE_PATIENCE : 1),
      giveUp: () => { reject(new DiskHangsError('TIMEOUT')) },
      late: false
    }
    this.#running.add(operation)
    this.#look()
    work().then(
      result => {
        this.#ended(operation)
        if (operation.late) late(result)
        else resolve(result)
      },
      (error: unknown) => {
        this.#ended(operation)
        reject(error)
      })
  }

  #ended (operation: Operation): void {
    this.#running.delete(operation)
    if (operation.late) this.#countLate(operation.kind, -1)
    this.#waiting.shift()?.begin()
  }

  #countLate (kind: DiskWork, by: 1 | -1): void {
    this.#late += by
    if (kind === 'write') this.#lateWrites += by
    this.#options.onLate?.(this.#late)
  }

  #look (): void {
    if (this.#looking) return
    this.#looking = true
    const pauseMs = this.#options.timeoutMs / LOOKS
    const lookAt = this.#timers.now() + pauseMs
    this.#timers.after(pauseMs, () => {
      this.#looking = false
      const now = this.#timers.now()
      const stoodMs = Math.max(0, now - lookAt)
      for (const operation of this.#running) {
        operation.dueAt += stoodMs
        if (operation.late || now < operation.dueAt) continue
        operation.late = true
        this.#countLate(operation.kind, 1)
        operation.giveUp()
      }
      // No thread is left, and none may ever come back.
      if (this.#late >= this.#options.width) for (const { refuse } of this.#waiting.splice(0)) refuse()
      if (this.#running.size > this.#late) this.#look()
    })
  }
}
