import type { Duplex } from 'node:stream'
import { closeReason } from '../../../protocol/close-reason.ts'
import type { SessionTransportName } from '../../../protocol/session-transports.ts'
import { TransportError, type BidiStream, type ReceiveStream, type SendStream, type SessionClose, type SessionRequest, type TransportStats, type TransportSession } from '../../../protocol/transport-session.ts'
import type { LibrarySession, LibraryStream, SessionHandler, StreamOrder } from './library.ts'
import { FailsStream, type FailsStreamOwner } from './stream.ts'
import { WebSocketGuard } from './websocket-guard.ts'

/** The peer gives stream credit within this, milliseconds, or an order for a stream fails. */
const CREDIT_TIMEOUT_MS = 5_000
/** Bytes of one connection that may wait in its send buffer; the library itself writes as far as the peer's window goes. */
const EGRESS_HIGH_BYTES = 524_288
/** A peer that never ends streams we stopped costs about 3 KB for each; a session is retired at this many, some 12 MB. */
const MAX_LINGERING_STREAMS = 4_096
/** Requests in flight of a retired session have this long, milliseconds, to finish. */
const RETIRE_GRACE_MS = 5_000
/** The connection is cut when a peer has not taken the close within this, milliseconds. */
const CLOSE_GRACE_MS = 500
/** What the library says when a browser closed the WebSocket without a WebTransport close. */
const PLAIN_CLOSE = 'Session websocket closed'

/** The close of a session that has to be replaced: no error, the viewer connects again. */
export const RETIRED = { code: 0, reason: 'session retired, reconnect' } as const

interface Waiting { resolve (stream: FailsStream): void, reject (error: Error): void }

export interface FailsSessionInit {
  readonly id: string
  readonly transport: SessionTransportName
  readonly request: SessionRequest
  readonly maxStreams: number
  /** Called once, when streams may flow. */
  readonly ready: (session: FailsSession) => void
}

/** A session of the library behind our interface. */
export class FailsSession implements TransportSession, FailsStreamOwner {
  readonly id: string
  readonly transport: SessionTransportName
  readonly request: SessionRequest
  readonly closed: Promise<SessionClose>
  onStream: (stream: BidiStream) => void = stream => { stream.reset(0); stream.cancel(0) }
  onUni?: (stream: ReceiveStream) => void
  /** Read by the library, which sends window updates only while it says connected. */
  state: SessionHandler['state'] = 'connecting'
  /** Read by the library when a stream breaks flow control. */
  readonly objint: LibrarySession
  readonly #carrier: Duplex | undefined
  readonly #init: FailsSessionInit
  readonly #bidi: Waiting[] = []
  readonly #uni: Waiting[] = []
  readonly #streams = new Set<FailsStream>()
  readonly #lingering = new Set<FailsStream>()
  #resolveClosed: (close: SessionClose) => void = () => {}
  #drained: Promise<void> | undefined
  #violation: string | undefined
  #retiring = false
  #nextStream = 0
  #sent = 0
  #received = 0
  #rtt: number | undefined

  constructor (native: LibrarySession, init: FailsSessionInit) {
    this.id = init.id
    this.transport = init.transport
    this.request = init.request
    this.objint = native
    this.#init = init
    this.#carrier = native.stream
    this.closed = new Promise(resolve => { this.#resolveClosed = resolve })
    native.jsobj = this.#handler()
    const closeConnection = native.closeConnection?.bind(native)
    if (closeConnection !== undefined) {
      native.closeConnection = args => {
        this.#violation = args.reason
        closeConnection(args)
      }
    }
    native.sendInitialParameters?.()
  }

  get openStreams (): number { return this.#streams.size }
  /** Streams over here that the library keeps, since the peer may still send on them. */
  get lingering (): number { return this.#lingering.size }

  stats (): TransportStats {
    const rtt = this.#rtt === undefined ? {} : { rttMs: this.#rtt }
    return { bytesSent: this.#sent, bytesReceived: this.#received, openStreams: this.#streams.size, ...rtt }
  }

  openBidi (): Promise<BidiStream> {
    return this.#order(this.#bidi, order => this.objint.orderBidiStream(order))
  }

  openUni (): Promise<SendStream> {
    return this.#order(this.#uni, order => this.objint.orderUnidiStream(order))
  }

  close (code = 0, reason = ''): void {
    if (this.state === 'closed') return
    const close = { code, reason: closeReason(reason), clean: true }
    try {
      this.objint.close({ code, reason: close.reason })
    } catch {
      this.#carrier?.destroy()
    }
    this.#finish(close)
    const carrier = this.#carrier
    if (carrier === undefined || carrier.destroyed) return
    const cut = setTimeout(() => { carrier.destroy() }, CLOSE_GRACE_MS)
    carrier.once('close', () => { clearTimeout(cut) })
  }

  /** Ends the session because its connection is dead or broke the rules. */
  lose (reason: string): void {
    if (this.#carrier === undefined && this.state !== 'closed') this.objint.close({ code: 0, reason })
    this.#finish({ code: 0, reason, clean: false })
    this.#carrier?.destroy()
  }

  /** Asks a silent peer for a sign of life where the transport has a way to. */
  ping (): void {
    if (this.#carrier instanceof WebSocketGuard && !this.#carrier.destroyed) this.#carrier.ping()
  }

  /** Lets requests in flight finish, then closes with {@link RETIRED} so that the viewer connects again. */
  retire (): void {
    if (this.#retiring || this.state === 'closed') return
    this.#retiring = true
    if (this.#streams.size === 0) { this.close(RETIRED.code, RETIRED.reason); return }
    const late = setTimeout(() => { this.close(RETIRED.code, RETIRED.reason) }, RETIRE_GRACE_MS)
    const stop = (): void => { clearTimeout(late) }
    this.closed.then(stop, stop)
  }

  egress (): Promise<void> | undefined {
    const carrier = this.#carrier
    if (carrier === undefined || carrier.destroyed || carrier.writableLength < EGRESS_HIGH_BYTES) return undefined
    this.#drained ??= new Promise(resolve => {
      const done = (): void => {
        carrier.off('drain', done)
        carrier.off('close', done)
        this.#drained = undefined
        resolve()
      }
      carrier.on('drain', done)
      carrier.on('close', done)
    })
    return this.#drained
  }

  sent (bytes: number): void { this.#sent += bytes }
  received (bytes: number): void { this.#received += bytes }

  finished (stream: FailsStream): void {
    this.#streams.delete(stream)
    if (this.state === 'closed') return
    if (stream.lingers) this.#lingering.add(stream)
    if (this.#lingering.size >= MAX_LINGERING_STREAMS) this.retire()
    if (this.#retiring && this.#streams.size === 0) this.close(RETIRED.code, RETIRED.reason)
  }

  gone (stream: FailsStream): void { this.#lingering.delete(stream) }

  #handler (): SessionHandler {
    const state = (): SessionHandler['state'] => this.state
    return {
      get state () { return state() },
      onReady: () => {
        if (this.state !== 'connecting') return
        this.state = 'connected'
        this.#init.ready(this)
      },
      onClose: ({ errorcode = 0, error = '' }) => { this.#ended(errorcode, error) },
      onStream: args => { this.#opened(args.stream, args.incoming, args.bidirectional) },
      // Nobody asked for datagrams: dropped here, they take no memory.
      onDatagramReceived () {},
      onGoAwayReceived () {},
      onSessionStats: ({ smoothedRtt = 0 }) => { if (smoothedRtt > 0) this.#rtt = smoothedRtt },
      onDatagramStats () {}
    }
  }

  #ended (code: number, reason: string): void {
    // The library reports a close by the peer while it reads from the connection, and a loss once that is gone.
    if (this.#violation !== undefined || this.#carrier?.destroyed === true) this.lose(this.#violation ?? 'connection lost')
    else this.#finish({ code: code >>> 0, reason: closeReason(reason === PLAIN_CLOSE ? '' : reason), clean: true })
  }

  #opened (native: LibraryStream, incoming: boolean, bidirectional: boolean): void {
    const id = `${this.id}/${this.#nextStream++}`
    const stream = new FailsStream(id, native, this, { sends: bidirectional || !incoming, receives: bidirectional || incoming })
    if (this.state === 'closed') { stream.fail(over()); return }
    this.#streams.add(stream)
    if (!incoming) {
      const waiting = (bidirectional ? this.#bidi : this.#uni).shift()
      if (waiting !== undefined) { waiting.resolve(stream); return }
      // Either the order timed out, or the peer used an id of ours: nobody wants the stream.
      stream.reset(0)
      stream.cancel(0)
      return
    }
    if (!bidirectional) {
      if (this.onUni === undefined) stream.cancel(0)
      else this.onUni(stream)
      return
    }
    if (this.#streams.size > this.#init.maxStreams * 2) { this.lose('more streams than it has credit for'); return }
    this.onStream(stream)
  }

  #order (queue: Waiting[], order: (order: StreamOrder) => boolean): Promise<FailsStream> {
    if (this.state !== 'connected') return Promise.reject(over())
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => {
        queue.splice(queue.indexOf(waiting), 1)
        reject(new TransportError('no-credit', `no stream credit within ${CREDIT_TIMEOUT_MS} ms`))
      }, CREDIT_TIMEOUT_MS)
      const waiting: Waiting = {
        resolve: stream => { clearTimeout(late); resolve(stream) },
        reject: error => { clearTimeout(late); reject(error) }
      }
      queue.push(waiting)
      order({ sendGroup: null, sendOrder: 0, waitUntilAvailable: true })
    })
  }

  #finish (close: SessionClose): void {
    if (this.state === 'closed') return
    const wasReady = this.state === 'connected'
    this.state = 'closed'
    for (const waiting of [...this.#bidi.splice(0), ...this.#uni.splice(0)]) waiting.reject(over())
    for (const stream of [...this.#streams, ...this.#lingering]) stream.fail(over())
    this.#streams.clear()
    this.#lingering.clear()
    this.#resolveClosed(wasReady ? close : { ...close, clean: false })
  }
}

function over (): TransportError {
  return new TransportError('session-closed', 'session closed')
}

/** Cut at a character, since half of one is not UTF-8. */
