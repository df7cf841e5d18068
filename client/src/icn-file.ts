import type { BandwidthSignal } from './bandwidth-signal.ts'
import { ShardClientError } from './client-error.ts'
import type { ClientRange } from './fetch-object.ts'
import { locateByte, piecesOf, wholeRange, type ByteLocation, type FilePiece } from './file-pieces.ts'
import type { Manifest } from './manifest.ts'
import { OrderedRead } from './ordered-read.ts'
import { PieceFetcher } from './piece-fetch.ts'
import type { ReadContext } from './piece-source.ts'
import type { PieceStore } from './piece-store.ts'
import type { ReadPriority } from './priority-slots.ts'
import { ReadTally, type ReadStatistics } from './read-statistics.ts'
import { linkedAbort, onAbort, type LinkedAbort } from './waiting.ts'

/** Pieces of one read that are fetched at the same time: with 1 MiB each they fill 1 Gbit/s at 60 ms. */
const PARALLEL = 8

export interface ReadOptions {
  /** `start` inclusive, `end` exclusive; the whole file by default. */
  readonly range?: ClientRange
  readonly signal?: AbortSignal
  /** `normal` by default. */
  readonly priority?: ReadPriority
  /** Called once, when the read is over, however it ended; must not throw. */
  readonly onStatistics?: (statistics: ReadStatistics) => void
}

/** What a file needs of its client. */
export interface FileContext extends ReadContext {
  readonly store: PieceStore
  readonly windowBytes: number
  readonly cacheBytes: number
  /** Largest file, or part of one, that is put together in memory, bytes. */
  readonly maxBytes: number
  /** Aborts when the client is closed. */
  readonly life: AbortSignal
  readonly bandwidth: () => BandwidthSignal | undefined
  readonly ended: (statistics: ReadStatistics, error: unknown) => void
}

/** One read under way. */
interface Read {
  /** The next bytes, null after the last. */
  next (): Promise<Uint8Array<ArrayBuffer> | null>
  stop (reason: unknown): void
  /** Called when it is aborted. */
  onAbort: (reason: unknown) => void
}

/** A file: its bytes, in whole or in part, whichever shards they are in. */
export class IcnFile {
  readonly manifest: Manifest
  readonly #context: FileContext
  readonly #fetcher: PieceFetcher

  constructor (manifest: Manifest, context: FileContext) {
    this.manifest = manifest
    this.#context = context
    this.#fetcher = new PieceFetcher(manifest, context)
  }

  get uri (): string { return `icn://${this.manifest.cid}` }
  /** The CID: a manifest tells no other name. */
  get name (): string { return this.manifest.cid }
  /** Bytes. */
  get size (): number { return this.manifest.size }
  /** MIME type, with `codecs` where they are known. */
  get type (): string { return this.manifest.contentType }
  /** Shards that could not be had within the last half minute; reads take the others. */
  get lostShards (): readonly number[] { return this.#fetcher.lost }

  /**
   * Where a byte is: in shard floor(N / shardSize), at N mod shardSize.
   * @throws ShardClientError range
   */
  locate (byte: number): ByteLocation {
    return locateByte(this.manifest, byte)
  }

  /**
   * The bytes in order, as fast as they are read: no more is fetched ahead than the window of the client. The stream errors with a ShardClientError, or with the
   * reason of the signal.
   * @throws ShardClientError range
   */
  stream (options: ReadOptions = {}): ReadableStream<Uint8Array<ArrayBuffer>> {
    const read = this.#read(options, this.#context.windowBytes, false)
    return new ReadableStream({
      // Between two reads of whoever reads too.
      start: controller => { read.onAbort = error => { controller.error(error) } },
      pull: async controller => {
        const bytes = await read.next()
        if (bytes === null) controller.close()
        else controller.enqueue(bytes)
      },
      cancel: reason => { read.stop(reason) }
    }, { highWaterMark: 0 })
  }

  /**
   * The bytes in one piece.
   * @throws ShardClientError range, when they are more than `maxVideoBytes` too, and others; or the reason of the signal
   */
  async bytes (options: ReadOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
    const { start, end } = wholeRange(this.manifest, options.range)
    const { maxBytes, windowBytes } = this.#context
    if (end - start > maxBytes) throw new ShardClientError('range', `${end - start} bytes were asked for, at most ${maxBytes} are put together in memory`)
    const read = this.#read(options, windowBytes, false)
    const all = new Uint8Array(end - start)
    let at = 0
    for (let bytes = await read.next(); bytes !== null; bytes = await read.next()) {
      all.set(bytes, at)
      at += bytes.length
    }
    return all
  }

  /**
   * Fetches ahead while nothing else is fetched, `background` unless told otherwise, and keeps what came for the next read: of a range larger than the memory for
   * that, the beginning.
   * @throws ShardClientError; or the reason of the signal
   */
  async prefetch (options: ReadOptions = {}): Promise<void> {
    const { start, end } = wholeRange(this.manifest, options.range)
    const { cacheBytes } = this.#context
    // Both ends are widened to whole blocks.
    const range = { start, end: Math.min(end, start + Math.max(0, cacheBytes - 524_288)) }
    const read = this.#read({ priority: 'background', ...options, range }, cacheBytes, true)
    for (let bytes = await read.next(); bytes !== null;) bytes = await read.next()
  }

  /** @param keep what is fetched, for the next read */
  #read (options: ReadOptions, windowBytes: number, keep: boolean): Read {
    const { signal, priority = 'normal', onStatistics } = options
    const { store, life, platform } = this.#context
    const range = wholeRange(this.manifest, options.range)
    let abort: LinkedAbort | undefined
    let tally: ReadTally | undefined
    let over: { readonly error: unknown } | undefined
    const pieces: FilePiece[] = []
    const reading = new OrderedRead({
      pieces: piecesOf(this.manifest, range),
      fetch: async piece => {
        pieces.push(piece)
        return await store.get(this.#fetcher, piece, { priority, signal: abort?.signal ?? life, keep: keep || this.#fetcher.mode === 'shards' })
      },
      cost: piece => {
        const { start, end } = this.#fetcher.widened(piece)
        return end - start
      },
      windowBytes,
      parallel: PARALLEL
    })
    const end = (outcome: ReadStatistics['outcome'], error?: unknown): void => {
      if (over !== undefined) return
      over = { error }
      abort?.stop()
      abort?.abort(error)
      const statistics = (tally ?? new ReadTally(platform.now)).end({ uri: this.uri, range, priority, outcome, bandwidth: this.#context.bandwidth() })
      onStatistics?.(statistics)
      this.#context.ended(statistics, error)
    }
    const read: Read = {
      next: async () => {
        if (over !== undefined) {
          // The reason of a signal may be anything.
          if (over.error !== undefined) throw over.error as Error
          return null
        }
        // Nothing follows the signal, and no time runs, before the first bytes are wanted.
        tally ??= new ReadTally(platform.now)
        abort ??= this.#follow(signal, reason => {
          end('aborted', reason)
          read.onAbort(reason)
        })
        const askedAt = platform.now()
        try {
          abort.signal.throwIfAborted()
          const piece = await reading.next()
          if (piece === undefined) {
            end('done')
            return null
          }
          tally.took(pieces.shift()?.shard ?? 0, piece, platform.now() - askedAt)
          // Made by this client, and shared with no worker.
          return piece.bytes as Uint8Array<ArrayBuffer>
        } catch (error) {
          end(abort.signal.aborted ? 'aborted' : 'failed', error)
          throw error
        }
      },
      stop: reason => { end('aborted', reason) },
      onAbort: () => {}
    }
    return read
  }

  /** A signal that follows another one and the end of the client, and calls back when it aborts for either. */
  #follow (signal: AbortSignal | undefined, aborted: (reason: unknown) => void): LinkedAbort {
    const abort = linkedAbort(signal, this.#context.life)
    const unfollow = onAbort(abort.signal, () => { aborted(abort.signal.reason) })
    return {
      ...abort,
      stop: () => {
        unfollow()
        abort.stop()
      }
    }
  }
}
