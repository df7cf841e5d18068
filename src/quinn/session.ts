import { systemTimers, type Timers } from '../base/clock.ts'
import { closeReason } from '../protocol/close-reason.ts'
import { TransportError, type BidiStream, type ReceiveStream, type SendStream, type SessionClose, type SessionRequest, type TransportStats, type TransportSession } from '../protocol/transport-session.ts'
import type { NapiBiStream, NapiCloseInfo, NapiSession } from './binding.ts'
import { isLoss, isPlainClose, streamFailure } from './failure.ts'
import { QuinnBidi, QuinnReceive, QuinnSend, type Half, type QuinnStreamOwner } from './stream.ts'
import { WriteTurns } from './write-turns.ts'

/** The peer gives stream credit within this, milliseconds, or opening a stream fails. */
const CREDIT_TIMEOUT_MS = 5_000
/** Datagrams and unidirectional streams that nobody asked for; a viewer that sends more of either loses its session. */
const MAX_UNWANTED = 1_000
/**
 * Halves given up here that the engine still works on: writes the peer holds back, requests it never ends. Each keeps stream credit, of
 * which there are 100; before the last of it the session ends, so that the viewer opens another one.
 */
const MAX_LINGERING = 64
/**
 * How long a reset may wait behind a write while no other write of the session goes through, milliseconds: then the viewer's credit for the
 * connection is used up by streams that cannot be reset, which would give it back. A write of 256 KiB takes less at 0.3 Mbit/s.
 */
const STUCK_MS = 10_000

export interface QuinnSessionInit {
  readonly id: string
  readonly request: SessionRequest
  /** Bidirectional streams of the peer at the same time; more are reset. */
  readonly maxStreams: number
  readonly timers?: Timers
}

/** A session of the engine behind our interface, on either side. */
export class QuinnSession implements TransportSession, QuinnStreamOwner {
  readonly id: string
  readonly transport = 'webtransport'
  readonly request: SessionRequest
  readonly closed: Promise<SessionClose>
  /** Resolves when the engine is done with the connection, which keeps the port until then. */
  readonly gone: Promise<void>
  onStream: (stream: BidiStream) => void = refuse
  onUni?: (stream: ReceiveStream) => void
  /** Let go of when the session is over, since it keeps the connection. */
  #native: NapiSession | undefined
  readonly #maxStreams: number
  readonly #timers: Timers
  readonly #turns: WriteTurns
  /** Halves that are not over. */
  readonly #halves = new Set<Half>()
  readonly #lingering = new Set<Half>()
  #stopWatch: (() => void) | undefined
  #resolveClosed: (close: SessionClose) => void = () => {}
  #over: TransportError | undefined
  #bidi = 0
  #streams = 0
  #unwanted = 0
  #sent = 0
  #received = 0

  constructor (native: NapiSession, { id, request, maxStreams, timers = systemTimers }: QuinnSessionInit) {
    this.#native = native
    this.id = id
    this.request = request
    this.#maxStreams = maxStreams
    this.#timers = timers
    this.#turns = new WriteTurns(timers)
    this.closed = new Promise(resolve => { this.#resolveClosed = resolve })
    this.gone = native.closed().then(info => { this.#finish(closeOf(info)) }, (error: unknown) => { this.#finish({ code: 0, reason: String(error), clean: false }) })
  }

  /** Halves given up here and not settled by the engine. */
  get lingering (): number { return this.#lingering.size }

  /** Takes what the peer opens, from now on; whoever uses the session has set its handlers. */
  start (): void {
    this.#takeAll(native => native.acceptBi(), stream => { this.#acceptBidi(stream) })
    this.#takeAll(native => native.acceptUni(), stream => { this.#acceptUni(new QuinnReceive(stream, this)) })
    this.#takeAll(native => native.recvDatagram(), () => { this.#refuseUnwanted() })
  }

  stats (): TransportStats {
    return { bytesSent: this.#sent, bytesReceived: this.#received, openStreams: this.#streams }
  }

  async openBidi (): Promise<BidiStream> {
    const native = await this.#credit(native => native.openBi(), late => { late.takeSend().reset(0).catch(() => {}) })
    return this.#track(new QuinnBidi(this.#nextId(), native, this.#bidiOwner(), this.#turns))
  }

  async openUni (): Promise<SendStream> {
    const native = await this.#credit(native => native.openUni(), late => { late.reset(0).catch(() => {}) })
    const stream = new QuinnSend(native, this)
    this.#halves.add(stream)
    return stream
  }

  close (code = 0, reason = ''): void {
    if (this.#native === undefined) return
    const text = closeReason(reason)
    this.#native.close(code, text)
    this.#finish({ code, reason: text, clean: true })
  }

  sent (bytes: number): void { this.#sent += bytes }

  received (bytes: number): void { this.#received += bytes }

  halfOver (half: Half): void {
    this.#halves.delete(half)
    this.#lingering.add(half)
    if (half instanceof QuinnSend) this.#watchResets()
  }

  settled (half: Half): void { this.#lingering.delete(half) }

  /** Ends a session in which nothing can be sent any more, so that the viewer opens another one. */
  #watchResets (): void {
    const oldest = this.#oldestReset()
    if (this.#over !== undefined || this.#stopWatch !== undefined || oldest === undefined) return
    const sent = this.#sent
    this.#stopWatch = this.#timers.after(STUCK_MS, () => {
      this.#stopWatch = undefined
      if (oldest === this.#oldestReset() && sent === this.#sent) this.close(0, 'cancelled streams cannot be reset')
      else this.#watchResets()
    })
  }

  #oldestReset (): Half | undefined {
    for (const half of this.#lingering) if (half instanceof QuinnSend) return half
    return undefined
  }

  #nextId (): string { return `${this.id}/${this.#bidi++}` }

  /** Counts a stream of two halves until both are over. */
  #bidiOwner (): QuinnStreamOwner {
    let halves = 2
    this.#streams++
    return {
      sent: bytes => { this.sent(bytes) },
      received: bytes => { this.received(bytes) },
      halfOver: half => {
        this.halfOver(half)
        if (--halves === 0) this.#streams--
        if (this.#lingering.size > MAX_LINGERING) this.close(0, 'too many streams are not ended or not read')
      },
      settled: half => { this.settled(half) }
    }
  }

  #track (stream: QuinnBidi): QuinnBidi {
    this.#halves.add(stream.send).add(stream.receive)
    // The session may have ended while the stream was opened.
    if (this.#over !== undefined) this.#endHalves(this.#over)
    return stream
  }

  #acceptBidi (native: NapiBiStream): void {
    const full = this.#streams >= this.#maxStreams
    const stream = this.#track(new QuinnBidi(this.#nextId(), native, this.#bidiOwner(), this.#turns))
    if (full) refuse(stream)
    else this.onStream(stream)
  }

  #acceptUni (stream: QuinnReceive): void {
    this.#halves.add(stream)
    if (this.onUni !== undefined) return this.onUni(stream)
    stream.cancel(0)
    this.#refuseUnwanted()
  }

  #refuseUnwanted (): void {
    if (++this.#unwanted > MAX_UNWANTED) this.close(0, 'datagrams and unidirectional streams are not used')
  }

  /** Takes what comes, one after the other, until the session is over. */
  #takeAll<T> (next: (native: NapiSession) => Promise<T>, take: (value: T) => void): void {
    const step = (): void => {
      if (this.#native === undefined) return
      next(this.#native).then(value => {
        try {
          take(value)
        } catch {
          return this.close(0, 'internal error')
        }
        step()
        // The engine rejects when the session is over; `closed` tells why.
      }, () => {})
    }
    step()
  }

  /** Waits for the credit of the peer, within bounds. */
  async #credit<T> (open: (native: NapiSession) => Promise<T>, giveUp: (late: T) => void): Promise<T> {
    if (this.#native === undefined) throw this.#over ?? new TransportError('session-closed', 'the session is over')
    const opening = open(this.#native)
    let late = false
    let cancel = (): void => {}
    const limit = new Promise<never>((_resolve, reject) => {
      cancel = this.#timers.after(CREDIT_TIMEOUT_MS, () => {
        late = true
        reject(new TransportError('no-credit', `the peer gave no stream credit for ${CREDIT_TIMEOUT_MS} ms`))
      })
    })
    opening.then(stream => { if (late) giveUp(stream) }, () => {})
    try {
      return await Promise.race([opening, limit])
    } catch (error) {
      throw error instanceof TransportError ? error : this.#over ?? streamFailure(error)
    } finally {
      cancel()
    }
  }

  #finish (close: SessionClose): void {
    if (this.#over !== undefined) return
    this.#over = new TransportError('session-closed', close.reason === '' ? 'the session is over' : close.reason)
    this.#native = undefined
    this.#stopWatch?.()
    this.#endHalves(this.#over)
    this.#resolveClosed(close)
  }

  #endHalves (error: TransportError): void {
    for (const half of [...this.#halves]) half.sessionOver(error)
  }
}

function refuse (stream: BidiStream): void {
  stream.reset(0)
  stream.cancel(0)
}

function closeOf ({ closeCode, reason }: NapiCloseInfo): SessionClose {
  if (isLoss(reason)) return { code: 0, reason, clean: false }
  return { code: closeCode, reason: closeCode === 0 && isPlainClose(reason) ? '' : reason, clean: true }
}
