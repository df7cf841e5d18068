/** What waits to be written on one stream; moves it into quiche piece by piece. */
import { TransportError } from '../viewer-transport.ts'
import { h3ToApplication } from './h3-errors.ts'
import { streamErrorCode, streamIsGone } from './quiche-binding.ts'
import type { QuicheConnection } from './quiche-binding.ts'

interface Chunk {
  readonly bytes: Uint8Array
  readonly fin: boolean
  /** Called once: without an error when quiche has taken the chunk. */
  readonly done: ((error?: TransportError) => void) | undefined
}

/** The native call failed: the peer's STOP_SENDING, or a stream that is gone. */
export function sendError (error: unknown): TransportError {
  const code = streamErrorCode(error, 'StreamStopped')
  // quiche answers STOP_SENDING itself and then lets go of a stream that is over otherwise.
  if (code === undefined && !streamIsGone(error)) return new TransportError('protocol', error instanceof Error ? error.message : String(error))
  return new TransportError('stopped', 'the peer stopped the stream', code === undefined ? undefined : h3ToApplication(code))
}

const EMPTY = new Uint8Array(0)

/**
 * Holds back the last byte of what is written until more is, or FIN is known. quiche 0.18 forgets a stream once its data is acknowledged:
 * FIN in a packet of its own, lost while data before it arrives, is never sent again, and the reader waits for ever. With a byte it is.
 */
export class StreamWriter {
  readonly streamId: number
  /** FIN or an error: nothing can be written any more. Called once. */
  onEnd: ((error: TransportError | undefined) => void) | undefined
  /** When quiche last took data, milliseconds. */
  dataAt = -Infinity
  /** When the byte that is held back came, milliseconds; undefined while there is none. */
  heldAt: number | undefined
  private readonly queue: Chunk[] = []
  private offset = 0
  private held = EMPTY
  private over = false
  private touched: boolean

  /** @param begun whether the stream exists in quiche already: the peer opened it */
  constructor (streamId: number, begun: boolean) {
    this.streamId = streamId
    this.touched = begun
  }

  /** Chunks that wait: at most the preamble, one write and FIN for a stream of a session. */
  get waiting (): number { return this.queue.length }

  get ended (): boolean { return this.over }

  /** Whether the stream exists in quiche. */
  get begun (): boolean { return this.touched }

  enqueue (bytes: Uint8Array, fin: boolean, done?: (error?: TransportError) => void): void {
    this.queue.push({ bytes, fin, done })
  }

  /** Whether all that is left is FIN, without a byte to carry it. */
  get onlyFin (): boolean {
    const [chunk] = this.queue
    return chunk !== undefined && chunk.fin && chunk.bytes.length === this.offset && this.heldAt === undefined
  }

  /** Gives quiche up to about `limit` bytes; returns how many it took. It takes what the congestion and flow-control windows admit. */
  advance (conn: QuicheConnection, limit: number, now: number): number {
    let moved = 0
    try {
      while (!this.over && moved < limit) {
        const taken = this.heldAt === undefined ? this.advanceChunk(conn, limit - moved, now) : this.queue.length === 0 ? null : this.advanceHeld(conn)
        if (taken === null) break
        moved += taken
      }
    } catch (error) {
      this.fail(sendError(error))
    }
    if (moved > 0) this.dataAt = now
    return moved
  }

  /** Sends the byte that is held back after all, since nothing follows it. */
  releaseHeld (conn: QuicheConnection, now: number): void {
    try {
      if (this.heldAt !== undefined && this.push(conn, this.held, false) === 1) {
        this.heldAt = undefined
        this.dataAt = now
      }
    } catch (error) {
      this.fail(sendError(error))
    }
  }

  /** Rejects everything that waits. Idempotent. */
  fail (error: TransportError): void {
    if (this.over) return
    const waiting = this.queue.splice(0)
    this.finish(error)
    for (const chunk of waiting) chunk.done?.(error)
  }

  /** The first chunk, or part of it; null when quiche takes nothing or there is nothing. */
  private advanceChunk (conn: QuicheConnection, limit: number, now: number): number | null {
    const [chunk, next] = this.queue
    if (chunk === undefined) return null
    const left = chunk.bytes.length - this.offset
    const fin = chunk.fin || (next?.fin === true && next.bytes.length === 0)
    const keep = fin || next !== undefined ? 0 : 1
    const size = Math.min(left - keep, limit)
    let taken = 0
    if (size > 0 || (fin && left === 0)) {
      const piece = size === chunk.bytes.length ? chunk.bytes : chunk.bytes.subarray(this.offset, this.offset + size)
      const sent = this.push(conn, piece, fin && size === left)
      if (sent === null) return null
      taken = sent
      this.offset += sent
      if (sent < size) return sent === 0 ? null : sent
    }
    if (left - taken > keep) return taken
    if (keep === 1) {
      this.held = chunk.bytes.slice(-1)
      this.heldAt = now
    }
    this.complete()
    if (fin && !this.over && !chunk.fin) this.complete()
    return taken
  }

  /** The held byte, with FIN when that is what comes next. */
  private advanceHeld (conn: QuicheConnection): number | null {
    const [next] = this.queue
    const fin = next !== undefined && next.fin && next.bytes.length === 0
    const taken = this.push(conn, this.held, fin)
    if (taken !== 1) return null
    this.heldAt = undefined
    if (fin) this.complete()
    return taken
  }

  private push (conn: QuicheConnection, bytes: Uint8Array, fin: boolean): number | null {
    const taken = conn.streamSend(this.streamId, bytes, fin)
    if (taken !== null) this.touched = true
    return taken
  }

  /** The first chunk is in quiche. */
  private complete (): void {
    const chunk = this.queue.shift()
    this.offset = 0
    if (chunk === undefined) return
    if (chunk.fin) this.finish(undefined)
    chunk.done?.()
  }

  private finish (error: TransportError | undefined): void {
    this.over = true
    this.heldAt = undefined
    this.onEnd?.(error)
    this.onEnd = undefined
  }
}
