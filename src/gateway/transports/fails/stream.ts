import { TransportError, type BidiStream, type ReceiveStream } from '../../../protocol/transport-session.ts'
import type { LibraryStream, ReadBuffer, StreamHandler } from './library.ts'

/** Bytes one write hands to the library at a time: it copies what a window cuts off, so a larger piece is copied often. */
const PIECE_BYTES = 65_536
/** Beyond this much unread the library is told to stop reading, and the peer's window stays shut. */
const READ_HIGH_BYTES = 65_536

/** What a stream needs of its session; the library reads `state` and `objint` here as well. */
export interface FailsStreamOwner {
  readonly state: string
  readonly objint: unknown
  /** Resolves when the connection's send buffer is below its mark, undefined when it is already. */
  egress (): Promise<void> | undefined
  sent (bytes: number): void
  received (bytes: number): void
  /** Both halves are over here; the peer may still send when the stream {@link FailsStream.lingers}. */
  finished (stream: FailsStream): void
  /** The peer is done as well. */
  gone (stream: FailsStream): void
}

interface StreamWaiter<T> { resolve (value: T): void, reject (error: Error): void }

/** One stream of the library behind our interface; a unidirectional one has one half that is over from the start. */
export class FailsStream implements BidiStream, ReceiveStream, StreamHandler {
  readonly id: string
  /** Named so by the library, which asks it for the state of the session. */
  readonly parentobj: FailsStreamOwner
  readonly #native: LibraryStream
  readonly #returnCredit: (() => void) | undefined
  readonly #stop = new AbortController()
  readonly #queue: Uint8Array[] = []
  #unread = 0
  #paused = false
  #reader: StreamWaiter<Uint8Array | null> | undefined
  #operation: StreamWaiter<void> | undefined
  #writing = false
  #sendDone: boolean
  #sendError: TransportError | undefined
  #finSent = false
  #receiveDone: boolean
  #receiveError: TransportError | undefined
  #finSeen = false
  /** The peer will send nothing more: FIN or reset arrived. */
  #peerDone: boolean
  #finished = false

  constructor (id: string, native: LibraryStream, owner: FailsStreamOwner, halves: { sends: boolean, receives: boolean }) {
    this.id = id
    this.#native = native
    this.parentobj = owner
    this.#sendDone = !halves.sends
    this.#receiveDone = !halves.receives
    this.#peerDone = !halves.receives
    native.jsobj = this
    this.#returnCredit = native.onClose?.bind(native)
    // The library's own idea of a closed stream forgets a graceful FIN and counts a stop answered by a reset twice.
    if (native.onClose !== undefined) native.onClose = () => {}
    native.sendInitialParameters?.()
    if (halves.receives) native.startReading()
  }

  get stopped (): AbortSignal { return this.#stop.signal }

  /** Whether the peer may still send on a stream that is over here; the library then has to keep it. */
  get lingers (): boolean { return !this.#peerDone }

  async write (chunk: Uint8Array): Promise<void> {
    if (this.#writing) throw new TransportError('protocol', 'a write is already outstanding')
    this.#writing = true
    try {
      this.#assertSending()
      for (let offset = 0; offset < chunk.length; offset += PIECE_BYTES) {
        await this.parentobj.egress()
        this.#assertSending()
        // Copied: the library's queue and the socket keep the bytes after this resolves.
        const piece = chunk.slice(offset, offset + PIECE_BYTES)
        await this.#perform(() => { this.#native.writeChunk(piece) })
        this.parentobj.sent(piece.length)
      }
    } finally {
      this.#writing = false
    }
  }

  async end (): Promise<void> {
    if (this.#writing) throw new TransportError('protocol', 'a write is still outstanding')
    this.#assertSending()
    this.#finSent = true
    await this.#perform(() => { this.#native.streamFinal() })
    this.#sendOver()
  }

  reset (code: number): void {
    if (this.#sendDone) return
    this.#dropOutgoing()
    this.#native.resetStream(code)
    this.#failSend(new TransportError('reset', 'stream was reset here', code))
  }

  read (): Promise<Uint8Array | null> {
    if (this.#reader !== undefined) return Promise.reject(new TransportError('protocol', 'a read is already outstanding'))
    const chunk = this.#queue.shift()
    if (chunk !== undefined) {
      this.#unread -= chunk.length
      if (this.#paused && this.#unread < READ_HIGH_BYTES) {
        this.#paused = false
        this.#native.startReading()
      }
      return Promise.resolve(chunk)
    }
    if (this.#receiveError !== undefined) return Promise.reject(this.#receiveError)
    if (this.#finSeen) return Promise.resolve(null)
    return new Promise((resolve, reject) => { this.#reader = { resolve, reject } })
  }

  cancel (code: number): void {
    if (this.#receiveDone) return
    this.#native.stopSending(code)
    this.#failReceive(new TransportError('stopped', 'stream was stopped here', code))
  }

  /** The session is over; no word goes to the peer. */
  fail (error: TransportError): void {
    this.#peerDone = true
    this.#failReceive(error)
    if (!this.#sendDone) this.#stop.abort(error)
    this.#failSend(error)
  }

  getReadBuffer ({ byteSize }: { byteSize: number }): ReadBuffer {
    // The library writes at the start of the underlying ArrayBuffer, so this is never a view into a pool.
    return { buffer: new Uint8Array(byteSize), byob: undefined, readBytes: 0, fin: false }
  }

  commitReadBuffer ({ buffer, readBytes = 0, fin = false }: Partial<ReadBuffer>): { stopReading?: boolean } {
    if (buffer !== undefined && readBytes > 0) {
      this.parentobj.received(readBytes)
      if (!this.#receiveDone) this.#deliver(buffer.subarray(0, readBytes))
    }
    if (fin) {
      this.#peerDone = true
      this.#finSeen = true
      if (!this.#receiveDone) {
        this.#receiveDone = true
        if (this.#queue.length === 0) this.#takeReader()?.resolve(null)
      }
      this.#maybeFinish()
    }
    if (this.#receiveDone || this.#unread < READ_HIGH_BYTES) return {}
    this.#paused = true
    this.#native.stopReading()
    return { stopReading: true }
  }

  onStreamRecvSignal ({ code = 0, nettask }: { code?: number, nettask: string }): void {
    if (nettask === 'resetStream') {
      this.#peerDone = true
      this.#failReceive(new TransportError('reset', 'peer reset the stream', code))
      this.#maybeFinish()
    } else if (nettask === 'stopSending' && !this.#sendDone) {
      const error = new TransportError('stopped', 'peer stopped the stream', code)
      this.#dropOutgoing()
      this.#stop.abort(error)
      this.#failSend(error)
    }
  }

  onStreamWrite ({ success = true }: { success?: boolean }): void {
    const operation = this.#takeOperation()
    if (success) operation?.resolve()
    else operation?.reject(new TransportError('session-closed', 'bytes were not sent'))
  }

  onStreamNetworkFinish ({ nettask }: { nettask: string }): void {
    if (nettask === 'streamFinal') this.#takeOperation()?.resolve()
  }

  #deliver (chunk: Uint8Array): void {
    const reader = this.#takeReader()
    if (reader !== undefined) { reader.resolve(chunk); return }
    this.#queue.push(chunk)
    this.#unread += chunk.length
  }

  #assertSending (): void {
    if (this.#sendError !== undefined) throw this.#sendError
    if (this.#sendDone || this.#finSent) throw new TransportError('protocol', 'stream is already ended')
  }

  #perform (order: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#operation = { resolve, reject }
      order()
    })
  }

  #takeOperation (): StreamWaiter<void> | undefined {
    const operation = this.#operation
    this.#operation = undefined
    return operation
  }

  #takeReader (): StreamWaiter<Uint8Array | null> | undefined {
    const reader = this.#reader
    this.#reader = undefined
    return reader
  }

  #failSend (error: TransportError): void {
    if (this.#sendDone) return
    this.#sendError = error
    this.#takeOperation()?.reject(error)
    this.#sendOver()
  }

  #failReceive (error: TransportError): void {
    if (this.#receiveDone) return
    this.#receiveDone = true
    this.#receiveError = error
    this.#queue.length = 0
    this.#unread = 0
    // What is still queued in the library counts against the window of the whole session until it is read.
    this.#native.drainReads()
    this.#takeReader()?.reject(error)
    this.#maybeFinish()
  }

  #sendOver (): void {
    this.#sendDone = true
    this.#maybeFinish()
  }

  /** Bytes queued in the library would follow the reset otherwise. */
  #dropOutgoing (): void {
    if (this.#native.outgochunks !== undefined) this.#native.outgochunks.length = 0
  }

  #maybeFinish (): void {
    if (!this.#sendDone || !this.#receiveDone) return
    if (!this.#finished) {
      this.#finished = true
      this.parentobj.finished(this)
      if (this.parentobj.state === 'connected') this.#returnCredit?.()
    }
    if (!this.#peerDone) return
    this.parentobj.gone(this)
    this.#forget()
  }

  /** The library keeps every stream for the life of the session; one that both sides are done with is taken out. */
  #forget (): void {
    const { streamid, capsuleParser } = this.#native
    if (streamid === undefined || capsuleParser === undefined || !capsuleParser.wtstreams.delete(streamid)) return
    try {
      capsuleParser.scheduler.Unregister(streamid)
    } catch {
      // The library has unregistered it already, after FIN.
    }
  }
}
