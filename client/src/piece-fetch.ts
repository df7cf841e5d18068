import { hexOf } from '../../src/protocol/repr-digest.ts'
import { blockRange } from './block-range.ts'
import { ShardClientError, reasonText } from './client-error.ts'
import type { ShardResult } from './client-options.ts'
import { PIECE_BYTES, type FilePiece } from './file-pieces.ts'
import type { Manifest } from './manifest.ts'
import { verifyMode, type PieceBytes, type ReadContext, type VerifyMode } from './piece-source.ts'
import type { Urgency } from './priority-slots.ts'
import { linkedAbort } from './waiting.ts'

/** A shard that could not be had is not asked for again for so long, milliseconds: each time costs the search of a relay through its super-nodes. */
const LOST_MS = 30_000
/** Attempts over which nothing comes after which the others are asked instead. */
const MAX_STALLS = 2

type Answers = Array<PieceBytes['answers'][number]>

function answerOf ({ transport, cache, attempts, timings, bytes }: ShardResult): Answers[number] {
  return { transport, cache, attempts, timings, bytes: bytes.length }
}

/**
 * Whether another shard may do better: there is none of this one, its bytes are wrong, or they do not come. A relay that is busy or refuses the viewer will
 * not like ten requests better than one.
 */
function isLost (error: unknown): error is ShardClientError {
  if (!(error instanceof ShardClientError)) return false
  const { fault, status } = error
  if (fault === 'status') return !error.unauthorized && status !== 429 && status !== 451 && status !== 503
  return fault === 'digest' || fault === 'protocol' || fault === 'reset' || fault === 'stalled' || fault === 'truncated'
}

/** Fetches pieces of the shards of one file, and computes those that cannot be had from the same bytes of ten others. */
export class PieceFetcher {
  readonly manifest: Manifest
  readonly mode: VerifyMode
  readonly #context: ReadContext
  /** Until when a shard is not asked for, monotonic milliseconds. */
  readonly #lost = new Map<number, number>()

  constructor (manifest: Manifest, context: ReadContext) {
    this.manifest = manifest
    this.mode = verifyMode(manifest, context)
    this.#context = context
  }

  /** Shards that could not be had lately. */
  get lost (): number[] { return [...this.#lost.keys()].filter(index => this.#isLost(index)).sort((a, b) => a - b) }

  /** What is fetched for a piece: more, where that is what can be verified. */
  widened ({ shard, start, end }: FilePiece): FilePiece {
    if (this.mode === 'none') return { shard, start, end }
    const size = this.manifest.shards[shard]?.size ?? 0
    if (this.mode === 'shards') return { shard, start: 0, end: size }
    const blockSize = this.manifest.blocks?.[shard]?.blockSize ?? 1
    return { shard, start: Math.floor(start / blockSize) * blockSize, end: Math.min(size, Math.ceil(end / blockSize) * blockSize) }
  }

  /**
   * @param piece as {@link widened} gives it
   * @throws ShardClientError; or the reason of the signal
   */
  async fetch (piece: FilePiece, urgency: Urgency, signal: AbortSignal): Promise<PieceBytes> {
    if (!this.#isLost(piece.shard)) {
      try {
        return await this.#direct(piece, urgency, signal)
      } catch (error) {
        signal.throwIfAborted()
        if (!isLost(error)) throw error
        this.#lose(piece.shard)
      }
    }
    const slot = await this.#context.repairs.take(urgency, signal)
    try {
      return this.mode === 'shards' ? await this.#repairShard(piece, urgency, signal) : await this.#repair(piece, urgency, signal)
    } finally {
      slot.give()
    }
  }

  #isLost (index: number): boolean { return (this.#lost.get(index) ?? 0) > this.#context.platform.now() }
  #lose (index: number): void { this.#lost.set(index, this.#context.platform.now() + LOST_MS) }

  async #direct (piece: FilePiece, urgency: Urgency, signal: AbortSignal): Promise<PieceBytes> {
    const { shard: index, start, end } = piece
    const size = this.manifest.shards[index]?.size ?? 0
    // What a shard is shorter than the others counts as zeros.
    if (start >= size) return { bytes: new Uint8Array(end - start), start, verified: this.mode !== 'none', repaired: false, answers: [] }
    const wanted = { start, end: Math.min(end, size) }
    const result = await this.#context.source.fetchShard(this.manifest.cid, index, {
      manifest: this.manifest,
      verify: this.mode !== 'none',
      priority: urgency,
      maxStalls: MAX_STALLS,
      signal,
      // Of a whole shard the digest is checked, of a part those of its blocks.
      ...(start > 0 || end < size || this.mode === 'blocks') && { range: wanted }
    })
    if (result.bytes.length !== wanted.end - start) throw new ShardClientError('digest', `shard ${index} has not the size of the manifest`)
    return { bytes: padded(result.bytes, end - start), start, verified: result.verified, repaired: false, answers: [answerOf(result)] }
  }

  /** The same bytes of ten other shards, and from them those of this one. */
  async #repair (piece: FilePiece, urgency: Urgency, signal: AbortSignal): Promise<PieceBytes> {
    const { manifest } = this
    const { shard, start, end } = piece
    const columns = new Array<Uint8Array | undefined>(manifest.shards.length).fill(undefined)
    const answers = await this.#gather(piece, columns, urgency, signal)
    const decoder = await this.#context.source.decoder()
    const data = await decoder.reconstruct(columns, manifest.dataShards, manifest.parityShards)
    signal.throwIfAborted()
    const bytes = data[shard] ?? new Uint8Array(0)
    const { platform } = this.#context
    const blocks = this.mode === 'blocks' ? blockRange(manifest, shard, { start, end }, platform) : undefined
    await blocks?.verify(bytes)
    return { bytes, start, verified: blocks !== undefined, repaired: true, answers }
  }

  /** @returns what was fetched for it; `columns` has what came */
  async #gather ({ shard, start, end }: FilePiece, columns: Array<Uint8Array | undefined>, urgency: Urgency, signal: AbortSignal): Promise<Answers> {
    const { dataShards, shards } = this.manifest
    const others = shards.map(({ index }) => index).filter(index => index !== shard)
    // Those that were lost may be back; better than nothing.
    const candidates = [...others.filter(index => !this.#isLost(index)), ...others.filter(index => this.#isLost(index))]
    const answers: Answers = []
    const failures: string[] = []
    const abort = linkedAbort(signal)
    const column = async (): Promise<void> => {
      const index = candidates.shift()
      if (index === undefined) throw new ShardClientError('missing', `shard ${shard} is missing, and of the others ${failures.length}: ${failures.join(', ')}`)
      try {
        const piece = await this.#direct({ shard: index, start, end }, urgency, abort.signal)
        columns[index] = piece.bytes
        answers.push(...piece.answers)
      } catch (error) {
        abort.signal.throwIfAborted()
        if (!isLost(error)) throw error
        this.#lose(index)
        failures.push(`${index} (${reasonText(error)})`)
        return await column()
      }
    }
    try {
      await Promise.all(Array.from({ length: dataShards }, column))
    } catch (error) {
      // The others are of no use any more.
      abort.abort(error)
      throw error
    } finally {
      abort.stop()
    }
    return answers
  }

  /**
   * A whole shard, where only whole shards have hashes: column by column, so that no more than a shard and ten columns are held. When its hash is wrong, a column
   * came wrong: then those that it was made of are compared with their own hashes, and what is wrong is left out.
   */
  async #repairShard (piece: FilePiece, urgency: Urgency, signal: AbortSignal): Promise<PieceBytes> {
    const { manifest } = this
    const { platform } = this.#context
    const size = piece.end - piece.start
    for (let round = 0; ; round++) {
      const bytes = new Uint8Array(size)
      const answers: Answers = []
      for (let at = 0; at < size; at += PIECE_BYTES) {
        const part = await this.#repair({ shard: piece.shard, start: piece.start + at, end: piece.start + Math.min(size, at + PIECE_BYTES) }, urgency, signal)
        bytes.set(part.bytes, at)
        answers.push(...part.answers)
      }
      const digest = platform.sha256 && hexOf(await platform.sha256(bytes))
      if (digest === manifest.shards[piece.shard]?.sha256) return { bytes, start: piece.start, verified: true, repaired: true, answers }
      if (round === manifest.parityShards || !await this.#loseWrong(piece.shard, urgency, signal)) throw new ShardClientError('digest', `repaired shard ${piece.shard} does not match its hash in the manifest`)
    }
  }

  /** Fetches the other shards one after the other, whole, to find those that are wrong. @returns whether there are */
  async #loseWrong (shard: number, urgency: Urgency, signal: AbortSignal): Promise<boolean> {
    let found = false
    for (const { index, size } of this.manifest.shards) {
      if (index === shard || this.#isLost(index)) continue
      try {
        await this.#direct({ shard: index, start: 0, end: size }, urgency, signal)
      } catch (error) {
        signal.throwIfAborted()
        if (!isLost(error)) throw error
        this.#lose(index)
        found = true
      }
    }
    return found
  }
}

function padded (bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length === length) return bytes
  const whole = new Uint8Array(length)
  whole.set(bytes)
  return whole
}
