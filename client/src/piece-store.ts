import type { PieceFetcher } from './piece-fetch.ts'
import type { FilePiece } from './file-pieces.ts'
import type { PieceBytes } from './piece-source.ts'
import { Urgency, type ReadPriority } from './priority-slots.ts'
import { abortable } from './waiting.ts'

/** What a read gets of one piece: exactly the bytes that it asked for. */
export interface ReadPiece extends Omit<PieceBytes, 'start'> {
  /** Nothing was fetched for it: it was there, or somebody else is fetching it. */
  readonly shared: boolean
}

export interface PieceRequest {
  readonly priority: ReadPriority
  readonly signal: AbortSignal
  /** Keep it for whoever asks for it next. */
  readonly keep: boolean
}

/** One fetch, under way or done, and who waits for it. */
interface Stored {
  /** Of the shard, as it was fetched. */
  readonly piece: FilePiece
  readonly urgency: Urgency
  readonly abort: AbortController
  readonly fetched: Promise<PieceBytes>
  waiting: number
  keep: boolean
  isDone: boolean
}

/**
 * The pieces that are being fetched, each once however many want it, and, up to a number of bytes, those that were fetched ahead or are larger than what was
 * asked for. What was used longest ago goes first.
 */
export class PieceStore {
  readonly #maxBytes: number
  /** Oldest use first; by file and shard. */
  readonly #stored = new Map<PieceFetcher, Map<number, Set<Stored>>>()
  readonly #kept = new Set<Stored>()
  #keptBytes = 0

  constructor (maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  get keptBytes (): number { return this.#keptBytes }
  /** Fetches under way and pieces kept. */
  get size (): number {
    let size = 0
    for (const shards of this.#stored.values()) for (const pieces of shards.values()) size += pieces.size
    return size
  }

  /** @throws ShardClientError; or the reason of the signal */
  async get (fetcher: PieceFetcher, piece: FilePiece, { priority, signal, keep }: PieceRequest): Promise<ReadPiece> {
    signal.throwIfAborted()
    const found = this.#find(fetcher, piece)
    const stored = found ?? this.#begin(fetcher, fetcher.widened(piece), new Urgency(priority))
    stored.waiting++
    stored.keep ||= keep
    stored.urgency.raise(priority)
    try {
      const { start, bytes, ...rest } = await abortable(stored.fetched, signal)
      const part = bytes.subarray(piece.start - start, piece.end - start)
      // Whoever gets them may change them or give them away.
      const isOwn = !stored.keep && stored.waiting === 1
      return { ...rest, bytes: isOwn ? part : part.slice(), shared: found !== undefined, answers: found === undefined ? rest.answers : [] }
    } finally {
      stored.waiting--
      this.#settle(fetcher, stored)
    }
  }

  /** Forgets what is kept. */
  clear (): void {
    for (const stored of [...this.#kept]) this.#drop(stored)
  }

  #find (fetcher: PieceFetcher, { shard, start, end }: FilePiece): Stored | undefined {
    for (const stored of this.#stored.get(fetcher)?.get(shard) ?? []) if (stored.piece.start <= start && stored.piece.end >= end && !stored.abort.signal.aborted) return stored
    return undefined
  }

  #begin (fetcher: PieceFetcher, piece: FilePiece, urgency: Urgency): Stored {
    const abort = new AbortController()
    const fetched = fetcher.fetch(piece, urgency, abort.signal)
    const stored: Stored = { piece, urgency, abort, fetched, waiting: 0, keep: false, isDone: false }
    const shards = this.#stored.get(fetcher) ?? new Map<number, Set<Stored>>()
    this.#stored.set(fetcher, shards)
    shards.set(piece.shard, (shards.get(piece.shard) ?? new Set<Stored>()).add(stored))
    fetched.then(() => { stored.isDone = true }, () => { this.#forget(fetcher, stored) })
    return stored
  }

  /** After one of those that waited has gone. */
  #settle (fetcher: PieceFetcher, stored: Stored): void {
    if (stored.isDone && stored.keep) this.#keep(fetcher, stored)
    else if (stored.waiting === 0) {
      if (!stored.isDone) stored.abort.abort(new Error('nobody waits for it any more'))
      this.#forget(fetcher, stored)
    }
  }

  #keep (fetcher: PieceFetcher, stored: Stored): void {
    const bytes = stored.piece.end - stored.piece.start
    if (!this.#kept.delete(stored)) {
      if (bytes > this.#maxBytes) return this.#forget(fetcher, stored)
      this.#keptBytes += bytes
    }
    // The last one in the order of use.
    this.#kept.add(stored)
    for (const oldest of this.#kept) {
      if (this.#keptBytes <= this.#maxBytes) break
      this.#drop(oldest)
    }
  }

  #drop (stored: Stored): void {
    if (!this.#kept.delete(stored)) return
    this.#keptBytes -= stored.piece.end - stored.piece.start
    for (const [fetcher, shards] of this.#stored) if (shards.get(stored.piece.shard)?.has(stored) === true) return this.#forget(fetcher, stored)
  }

  #forget (fetcher: PieceFetcher, stored: Stored): void {
    const shards = this.#stored.get(fetcher)
    const pieces = shards?.get(stored.piece.shard)
    pieces?.delete(stored)
    if (pieces?.size === 0) shards?.delete(stored.piece.shard)
    if (shards?.size === 0) this.#stored.delete(fetcher)
  }
}
