/** A stream of a WebTransport session over quiche, as the gateway and the client see it. */
import { TransportError } from '../viewer-transport.ts'
import type { BidiStream } from '../viewer-transport.ts'
import { H3, applicationToH3, h3ToApplication } from './h3-errors.ts'
import { streamErrorCode, streamIsGone } from './quiche-binding.ts'
import type { QuicheConnection } from './quiche-binding.ts'
import { StreamWriter, sendError } from './stream-writer.ts'

/** What a stream needs of its connection. */
export interface StreamHost {
  /** Undefined once the connection is over. */
  readonly conn: QuicheConnection | undefined
  readonly shutdown: { readonly Read: number, readonly Write: number }
  /** The writer has something to write. */
  writable (writer: StreamWriter): void
  /** RESET_STREAM with an HTTP/3 code, as soon as quiche can be trusted with it. */
  reset (writer: StreamWriter, code: number): void
  /** Frames may be waiting to be sent. */
  wake (): void
  /** Both halves are over. */
  released (streamId: number): void
}

/** One read takes at most this: a larger buffer no longer lowers the cost of a byte. */
const READ_SIZE = 65_536
/** Below a quarter of the buffer a copy costs less than the memory it would keep alive. */
const COPY_BELOW = READ_SIZE / 4
const PROBE = Buffer.alloc(8)
/** Two varints at most. */
const PREAMBLE_SIZE = 16
const NOTHING = PROBE.subarray(0, 0)
let scratch = Buffer.allocUnsafeSlow(READ_SIZE)

interface Waiter {
  readonly resolve: (bytes: Uint8Array | null) => void
  readonly reject: (error: TransportError) => void
}

export class WtStream implements BidiStream {
  readonly id: string
  readonly streamId: number
  readonly writer: StreamWriter
  private readonly host: StreamHost
  private rest: Uint8Array | undefined
  private reading: 'open' | 'fin' | TransportError
  private waiter: Waiter | undefined
  private writing = false
  private stop: AbortController | undefined
  private stopReason: TransportError | undefined

  /** @param received bytes, and perhaps FIN, that came with the preamble of a stream the peer opened; absent for one of ours */
  constructor (host: StreamHost, streamId: number, halves: { send: boolean, receive: boolean }, received?: { rest: Uint8Array, fin: boolean }) {
    this.host = host
    this.id = String(streamId)
    this.streamId = streamId
    this.rest = received === undefined || received.rest.length === 0 ? undefined : received.rest
    this.reading = halves.receive && received?.fin !== true ? 'open' : 'fin'
    this.writer = new StreamWriter(streamId, received !== undefined)
    if (!halves.send) this.writer.fail(new TransportError('protocol', 'the stream is receive-only'))
    this.writer.onEnd = (error) => {
      if (error !== undefined) this.abortStopped(error)
      this.release()
    }
  }

  /** Both halves have ended. */
  get over (): boolean { return this.writer.ended && this.reading !== 'open' }

  get stopped (): AbortSignal {
    if (this.stop === undefined) {
      this.stop = new AbortController()
      if (this.stopReason !== undefined && this.stopReason.kind !== 'reset') this.stop.abort(this.stopReason)
    }
    return this.stop.signal
  }

  write (chunk: Uint8Array): Promise<void> {
    if (this.writer.ended) return Promise.reject(this.stopReason ?? new TransportError('protocol', 'the sending half is over'))
    if (this.writing) return Promise.reject(new TransportError('protocol', 'another write is outstanding'))
    if (chunk.length === 0) return Promise.resolve()
    this.writing = true
    return this.submit(chunk, false)
  }

  end (): Promise<void> {
    if (this.writer.ended) return this.stopReason === undefined ? Promise.resolve() : Promise.reject(this.stopReason)
    return this.submit(NOTHING, true)
  }

  reset (code: number): void {
    if (this.writer.ended) return
    const { conn } = this.host
    // A preamble that has not left goes first: ids below a later one count as opened on the other side (RFC 9000 §2.1).
    if (conn !== undefined && !this.writer.begun) this.writer.advance(conn, PREAMBLE_SIZE, 0)
    this.host.reset(this.writer, applicationToH3(code))
    this.writer.fail(new TransportError('reset', 'reset by this side', code))
  }

  read (): Promise<Uint8Array | null> {
    if (this.waiter !== undefined) return Promise.reject(new TransportError('protocol', 'another read is outstanding'))
    const got = this.pull()
    if (got === 'nothing') return new Promise((resolve, reject) => { this.waiter = { resolve, reject } })
    return got instanceof TransportError ? Promise.reject(got) : Promise.resolve(got)
  }

  cancel (code: number): void {
    if (this.reading !== 'open') return
    this.discard()
    this.shut(this.host.shutdown.Read, applicationToH3(code))
    const error = this.endReading(new TransportError('stopped', 'cancelled by this side', code))
    this.rejectReader(error)
  }

  /** quiche has bytes, FIN or a reset for this stream. */
  onReadable (): void {
    if (this.reading !== 'open') return
    const { waiter } = this
    if (waiter === undefined) {
      this.probe()
      return
    }
    const got = this.pull()
    if (got === 'nothing') return
    this.waiter = undefined
    if (got instanceof TransportError) waiter.reject(got)
    else waiter.resolve(got)
  }

  /** Notices STOP_SENDING on a stream that has nothing to write. */
  checkStopped (): void {
    const { conn } = this.host
    if (conn === undefined || this.writer.ended || !this.writer.begun) return
    try {
      conn.streamCapacity(this.streamId)
    } catch (error) {
      this.writer.fail(sendError(error))
    }
  }

  /** The session is over: both halves end (draft-ietf-webtrans-http3 §6). */
  abandon (error: TransportError): void {
    if (!this.writer.ended) {
      this.shut(this.host.shutdown.Write, H3.WT_SESSION_GONE)
      this.writer.fail(error)
    }
    if (this.reading === 'open') {
      this.discard()
      this.shut(this.host.shutdown.Read, H3.WT_SESSION_GONE)
    }
    // What was received before stays readable up to FIN; what is missing does not come.
    if (this.reading === 'open') {
      this.rest = undefined
      this.endReading(error)
    }
    this.rejectReader(error)
  }

  private submit (bytes: Uint8Array, fin: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.writer.enqueue(bytes, fin, (error) => {
        if (!fin) this.writing = false
        if (error === undefined) resolve()
        else reject(error)
      })
      this.host.writable(this.writer)
    })
  }

  /** The next bytes, null after FIN, the error that ended the stream, or 'nothing' yet. */
  private pull (): Uint8Array | null | TransportError | 'nothing' {
    if (this.rest !== undefined) {
      const { rest } = this
      this.rest = undefined
      return rest
    }
    if (this.reading !== 'open') return this.reading === 'fin' ? null : this.reading
    const { conn } = this.host
    if (conn === undefined) return 'nothing'
    let got: readonly [length: number, fin: boolean] | null
    try {
      got = conn.streamRecv(this.streamId, scratch)
    } catch (error) {
      return this.isUnborn(error) ? 'nothing' : this.endReading(receiveError(error))
    }
    if (got === null) return 'nothing'
    // Credit for what was taken goes to the peer with the next packet.
    this.host.wake()
    const [length, fin] = got
    const bytes = length === 0 ? null : take(length)
    if (fin) this.endReading('fin')
    return bytes === null && !fin ? 'nothing' : bytes
  }

  /** Notices FIN and resets without taking data, so that a stream nobody reads any more can end. */
  private probe (): void {
    const { conn } = this.host
    if (conn === undefined) return
    try {
      // An empty buffer takes nothing; after FIN quiche wants a real read before it lets go of the stream.
      const got = conn.streamRecv(this.streamId, NOTHING)
      if (got?.[1] !== true) return
      conn.streamRecv(this.streamId, PROBE)
      this.endReading('fin')
    } catch (error) {
      if (!this.isUnborn(error)) this.endReading(receiveError(error))
    }
  }

  /** quiche does not know a stream of ours before its first byte has been handed over; nothing can have come on it. */
  private isUnborn (error: unknown): boolean {
    return !this.writer.begun && streamIsGone(error)
  }

  /** Takes and drops what has arrived; its flow-control credit returns to the peer. */
  private discard (): void {
    const { conn } = this.host
    if (conn === undefined) return
    try {
      for (let got = conn.streamRecv(this.streamId, scratch); got !== null; got = conn.streamRecv(this.streamId, scratch)) {
        if (got[1]) return
      }
    } catch {
      // A reset is one more end of a half that is ending anyway.
    }
  }

  private endReading<T extends 'fin' | TransportError> (state: T): T {
    this.reading = state
    this.release()
    return state
  }

  private rejectReader (error: TransportError): void {
    const { waiter } = this
    this.waiter = undefined
    waiter?.reject(error)
  }

  private abortStopped (error: TransportError): void {
    this.stopReason = error
    // `stopped` tells what the other side did; our own reset is no news.
    if (error.kind !== 'reset') this.stop?.abort(error)
  }

  private shut (direction: number, code: number): void {
    try {
      this.host.conn?.streamShutdown(this.streamId, direction, code)
    } catch {
      // quiche has already let go of that half.
    }
    this.host.wake()
  }

  private release (): void {
    if (this.over) this.host.released(this.streamId)
  }
}

function take (length: number): Uint8Array {
  if (length < COPY_BELOW) return Buffer.from(scratch.subarray(0, length))
  const bytes = scratch.subarray(0, length)
  scratch = Buffer.allocUnsafeSlow(READ_SIZE)
  return bytes
}

function receiveError (error: unknown): TransportError {
  const code = streamErrorCode(error, 'StreamReset')
  if (code === undefined) return new TransportError('protocol', error instanceof Error ? error.message : String(error))
  return new TransportError('reset', 'the peer reset the stream', h3ToApplication(code))
}
