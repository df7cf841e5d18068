import { systemTimers, type Timers } from '../../base/clock.ts'
import { startThread } from '../../base/thread.ts'
import { DATA_SHARDS, TOTAL_SHARDS } from '../../protocol/shard-key.ts'
import type { Pieces } from './erasure-code.ts'
import type { ErasureJob, ErasureResult } from './erasure-worker.ts'

/**
 * Why nothing was rebuilt: `INPUT`, it cannot be; `BUSY`, too much waits already; `FAILED`, the code has refused it; `WORKER`, the thread has ended;
 * `TIMEOUT`, it did not answer in time; `CLOSED`, the relay stops.
 */
export type ErasureCode = 'INPUT' | 'BUSY' | 'FAILED' | 'WORKER' | 'TIMEOUT' | 'CLOSED'

export class ErasureError extends Error {
  override readonly name = 'ErasureError'
  readonly code: ErasureCode

  constructor (code: ErasureCode, message: string, cause?: unknown) {
    super(message, { cause })
    this.code = code
  }
}

/** Bytes of a piece at most: whole shards are rebuilt piece by piece, since every row stands for itself. */
export const MAX_PIECE_BYTES = 1024 * 1024
/** Jobs at most, the one under way included. */
export const MAX_JOBS = 64
/** Bytes of all jobs at most, what is wanted of them included: some twenty of the largest that want one shard. */
export const MAX_JOB_BYTES = 256 * 1024 * 1024
/** Time for one job, ms. The largest takes a tenth of a second on an idle core. */
const TIMEOUT_MS = 10_000
/** Heap of the thread, MB; pieces and WebAssembly are not in it. */
const WORKER_HEAP_MB = 64

/** The thread as it is used here; tests pass one that fails. */
export interface ErasureThread {
  postMessage (job: ErasureJob, transfer: readonly ArrayBuffer[]): void
  on (event: 'message', listener: (result: ErasureResult) => void): unknown
  on (event: 'error', listener: (error: unknown) => void): unknown
  on (event: 'exit', listener: (code: number) => void): unknown
  terminate (): Promise<unknown>
  ref (): void
  unref (): void
}

export interface ErasureOptions {
  readonly start?: () => ErasureThread
  readonly timers?: Timers
  readonly timeoutMs?: number
}

interface WaitingJob extends ErasureJob {
  readonly bytes: number
  readonly resolve: (rebuilt: Uint8Array[]) => void
  readonly reject: (error: ErasureError) => void
}

const startWorker = (): ErasureThread => startThread('plugins/repair/erasure-worker', { name: 'erasure', resourceLimits: { maxOldGenerationSizeMb: WORKER_HEAP_MB } })

/**
 * The bytes that a job holds, with those of what it wants.
 * @throws ErasureError INPUT, naming what is wrong
 */
export function checkRebuild (pieces: Pieces, wanted: readonly number[]): number {
  const refuse = (why: string): never => { throw new ErasureError('INPUT', why) }
  if (pieces.length !== TOTAL_SHARDS) refuse(`${TOTAL_SHARDS} places are needed, got ${pieces.length}`)
  const known = pieces.filter(piece => piece !== undefined)
  if (known.length < DATA_SHARDS) refuse(`${DATA_SHARDS} pieces are needed, got ${known.length}`)
  const size = known[0]?.length ?? 0
  if (size === 0 || size > MAX_PIECE_BYTES) refuse(`a piece has 1 to ${MAX_PIECE_BYTES} bytes, and not ${size}`)
  for (const [shard, piece] of pieces.entries()) if (piece !== undefined && piece.length !== size) refuse(`the piece of shard ${shard} has ${piece.length} bytes, others have ${size}`)
  if (wanted.length === 0 || new Set(wanted).size !== wanted.length) refuse('the shards that are wanted must be some, each once')
  for (const shard of wanted) {
    if (!Number.isInteger(shard) || shard < 0 || shard >= TOTAL_SHARDS) refuse(`there is no shard ${shard}`)
    if (pieces[shard] !== undefined) refuse(`shard ${shard} is wanted, and its piece is given`)
  }
  return (known.length + wanted.length) * size
}

/** A piece in memory that nothing else is in, which can go to a thread as it is. What is a part of something larger is copied. */
function alone (piece: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer, byteLength } = piece
  return buffer instanceof ArrayBuffer && buffer.byteLength === byteLength ? new Uint8Array(buffer) : new Uint8Array(piece)
}

/**
 * Rebuilds missing shards in a thread of its own, one job after the other. A thread that crashes or hangs fails the job it was at, and the next job gets
 * another one. It starts with the first job.
 */
export class Erasure {
  readonly #options: ErasureOptions
  readonly #timers: Timers
  readonly #waiting: WaitingJob[] = []
  #thread: ErasureThread | undefined
  #job: WaitingJob | undefined
  #stopWatch = (): void => {}
  #bytes = 0
  #closed = false

  constructor (options: ErasureOptions = {}) {
    this.#options = options
    this.#timers = options.timers ?? systemTimers
  }

  /** Jobs that wait or are under way. */
  get jobs (): number { return this.#waiting.length + (this.#job === undefined ? 0 : 1) }
  /** Bytes that they hold. */
  get bytes (): number { return this.#bytes }

  /**
   * The same rows of missing shards.
   * @param pieces rows of the 14 shards of a video, at least ten of them, all of one length. Pieces that fill their memory are handed over and are empty
   * afterwards, also after an error that is none of INPUT, BUSY and CLOSED
   * @param wanted numbers of shards that are not among them, data or parity
   * @returns those, in that order
   * @throws ErasureError
   */
  async rebuild (pieces: Pieces, wanted: readonly number[]): Promise<Uint8Array[]> {
    const bytes = checkRebuild(pieces, wanted)
    if (this.#closed) throw new ErasureError('CLOSED', 'nothing is rebuilt any more')
    if (this.jobs >= MAX_JOBS || this.#bytes + bytes > MAX_JOB_BYTES) throw new ErasureError('BUSY', `${this.jobs} jobs with ${this.#bytes} bytes wait already`)
    this.#bytes += bytes
    try {
      return await new Promise<Uint8Array[]>((resolve, reject) => {
        this.#waiting.push({ pieces, wanted, bytes, resolve, reject })
        this.#next()
      })
    } finally {
      this.#bytes -= bytes
    }
  }

  /** Fails all jobs and ends the thread; idempotent. */
  async close (): Promise<void> {
    this.#closed = true
    const error = new ErasureError('CLOSED', 'nothing is rebuilt any more')
    for (const { reject } of this.#waiting.splice(0)) reject(error)
    const thread = this.#thread
    this.#end(error)
    await thread?.terminate()
  }

  #next (): void {
    if (this.#job !== undefined || this.#closed) return
    const job = this.#waiting.shift()
    if (job === undefined) {
      this.#thread?.unref()
      return
    }
    this.#job = job
    try {
      this.#thread ??= this.#start()
      this.#thread.ref()
      const pieces = job.pieces.map(piece => piece === undefined ? undefined : alone(piece))
      this.#thread.postMessage({ pieces, wanted: job.wanted }, pieces.flatMap(piece => piece === undefined ? [] : [piece.buffer]))
    } catch (error) {
      // Memory that cannot be handed over, or a thread that cannot be started.
      this.#done()?.reject(new ErasureError('WORKER', 'the job could not be handed over', error))
      this.#next()
      return
    }
    const timeoutMs = this.#options.timeoutMs ?? TIMEOUT_MS
    this.#stopWatch = this.#timers.after(timeoutMs, () => {
      void this.#thread?.terminate().catch(() => {})
      this.#end(new ErasureError('TIMEOUT', `nothing was rebuilt within ${timeoutMs} ms`))
    })
  }

  #start (): ErasureThread {
    const thread: ErasureThread = (this.#options.start ?? startWorker)()
    const ended = (why: string, cause?: unknown): void => {
      if (this.#thread === thread) this.#end(new ErasureError('WORKER', why, cause))
    }
    thread.on('message', result => {
      if (this.#thread !== thread) return
      const job = this.#done()
      if ('rebuilt' in result) job?.resolve(result.rebuilt)
      else job?.reject(new ErasureError('FAILED', result.failed))
      this.#next()
    })
    thread.on('error', error => { ended('the thread has failed', error) })
    thread.on('exit', code => { ended(`the thread has ended with ${code}`) })
    return thread
  }

  /** The thread is gone or given up: its job fails, and the next one starts another. */
  #end (error: ErasureError): void {
    this.#thread = undefined
    this.#done()?.reject(error)
    this.#next()
  }

  #done (): WaitingJob | undefined {
    const job = this.#job
    this.#job = undefined
    this.#stopWatch()
    return job
  }
}
