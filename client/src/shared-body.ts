import type { FieldLine } from '../../src/protocol/message-head.ts'
import { ShardClientError } from './client-error.ts'
import type { PooledSession } from './pooled-session.ts'
import type { ClientPlatform } from './platform.ts'
import type { RelayResponse } from './relay-connection.ts'
import { isRange, stallTimer } from './stall.ts'
import { linkedAbort, onAbort } from './waiting.ts'
import type { LinkedAbort } from './waiting.ts'

/** Requests for one body at most. */
export const MAX_PARTS = 64

/** A part of a body on its way over one session. */
export interface Piece {
  readonly session: PooledSession
  /** First byte that has not come yet. */
  position: number
  /** First byte that another piece fetches. */
  end: number
}

/** What the bodies of a client need of those who keep its sessions. */
export interface Sessions {
  join (body: SharedBody): void
  leave (body: SharedBody): void
  /** Bytes of a body came over it. */
  received (session: PooledSession, bytes: number): void
  /** An exchange on it broke off. */
  failed (session: PooledSession, error: unknown): void
  /** An exchange on it is over, however it ended. */
  release (session: PooledSession): void
}

export interface BodyRequest {
  readonly path: string
  readonly fields: readonly FieldLine[]
  readonly signal: AbortSignal
  /** A piece is given up after so many milliseconds without a byte. */
  readonly stallMs: number
  readonly length: number
  /** Every part must show this one; a body without is not divided. */
  readonly etag: string | undefined
  readonly onReceived: (receivedBytes: number) => void
}

/** The body of one answer, put together from what comes over one session or, in parts, over several. */
export class SharedBody {
  readonly bytes: Uint8Array
  readonly #request: BodyRequest
  readonly #sessions: Sessions
  readonly #platform: ClientPlatform
  readonly #all: LinkedAbort
  readonly #pieces = new Map<Piece, LinkedAbort>()
  #parts = 1
  #received = 0
  #resolve: () => void = () => {}
  #reject: (error: unknown) => void = () => {}

  constructor (request: BodyRequest, sessions: Sessions, platform: ClientPlatform) {
    this.bytes = new Uint8Array(request.length)
    this.#request = request
    this.#sessions = sessions
    this.#platform = platform
    this.#all = linkedAbort(request.signal)
  }

  get outstanding (): number { return this.bytes.length - this.#received }

  /** Those that may be divided or moved. */
  get pieces (): Iterable<Piece> { return this.#request.etag === undefined || this.#parts >= MAX_PARTS ? [] : this.#pieces.keys() }

  /**
   * Reads the answer that has begun on this session, and whatever of it is divided meanwhile; gives the sessions back.
   * @param abort ends the exchange of this answer
   * @throws ShardClientError, or the reason of the signal
   */
  async read (session: PooledSession, response: RelayResponse, abort: LinkedAbort): Promise<void> {
    const done = new Promise<void>((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#sessions.join(this)
    try {
      this.#start({ session, position: 0, end: this.bytes.length }, abort, async () => response)
      await done
    } catch (error) {
      // The other pieces are of no use any more.
      this.#all.abort(error)
      throw error
    } finally {
      this.#sessions.leave(this)
      this.#all.stop()
    }
  }

  /** Has the end of a piece, from `at` on, fetched over another session, which is taken already. */
  divide (piece: Piece, at: number, session: PooledSession): void {
    const { path, fields, etag, length } = this.#request
    this.#parts++
    const part: Piece = { session, position: at, end: piece.end }
    piece.end = at
    if (piece.position >= at) this.#pieces.get(piece)?.abort(new Error('another session goes on with it'))
    const { end } = part
    this.#start(part, linkedAbort(this.#request.signal), async signal => {
      const response = await session.connection.request({ path, fields: [['range', `bytes=${at}-${end - 1}`], ...fields], signal })
      if (response.status === 206 && response.fields.get('etag') === etag && isRange(response.fields, at, end - at, length)) return response
      response.cancel()
      session.wholeOnly = true
      throw new ShardClientError('truncated', `a part of the object came with status ${response.status} or is of another one`)
    })
  }

  #start (piece: Piece, abort: LinkedAbort, open: (signal: AbortSignal) => Promise<RelayResponse>): void {
    this.#pieces.set(piece, abort)
    const unfollow = onAbort(this.#all.signal, () => abort.abort(this.#all.signal.reason))
    this.#run(piece, abort, open).finally(unfollow).then(() => {
      if (this.#pieces.size === 0) this.#resolve()
    }, this.#reject)
  }

  async #run (piece: Piece, abort: LinkedAbort, open: (signal: AbortSignal) => Promise<RelayResponse>): Promise<void> {
    const asked = piece.end
    const stall = stallTimer(abort, this.#request, piece.session, this.#platform)
    const askedAt = this.#platform.now()
    let response: RelayResponse | undefined
    try {
      response = await open(abort.signal)
      // The first one has its answer already.
      if (piece.position > 0) piece.session.answered(this.#platform.now() - askedAt)
      // An answer that nobody cut short is read to its FIN: one whose bytes are wrong ends with a reset instead.
      for (let chunk = await response.read(); chunk !== null; chunk = await response.read()) {
        stall.again()
        this.#take(piece, chunk, asked)
        if (piece.end < asked && piece.position >= piece.end) break
      }
      if (piece.position < piece.end) throw new ShardClientError('truncated', `the body ended after ${this.#received} of ${this.bytes.length} bytes`)
      if (piece.end < asked) response.cancel()
    } catch (error) {
      response?.cancel()
      if (piece.end === asked || piece.position < piece.end) {
        // Whatever broke after an abort broke because of it.
        const reason = abort.signal.aborted ? abort.signal.reason as unknown : error
        if (!this.#all.signal.aborted) this.#sessions.failed(piece.session, reason)
        throw reason
      }
    } finally {
      stall.stop()
      abort.stop()
      this.#pieces.delete(piece)
      this.#sessions.release(piece.session)
    }
  }

  #take (piece: Piece, chunk: Uint8Array, asked: number): void {
    if (piece.position + chunk.length > asked) throw new ShardClientError('protocol', 'the body is longer than its content-length')
    const wanted = chunk.subarray(0, Math.max(0, piece.end - piece.position))
    this.bytes.set(wanted, piece.position)
    piece.position += wanted.length
    this.#received += wanted.length
    this.#sessions.received(piece.session, wanted.length)
    this.#request.onReceived(this.#received)
  }
}
