/** The peer's stream limits (RFC 9000 §4.6): who may open a stream now, and who waits. No clock: `now` comes in. */
import { TransportError } from '../viewer-transport.ts'
import type { QuicheConnection } from './quiche-binding.ts'

/** A session that queues more than this is not going to use the streams soon either. */
const MAX_WAITING = 1024

interface Waiter {
  readonly bidi: boolean
  readonly since: number
  readonly resolve: () => void
  readonly reject: (error: TransportError) => void
}

export class StreamCredit {
  private readonly conn: Pick<QuicheConnection, 'peerStreamsLeftBidi' | 'peerStreamsLeftUni'>
  private waiters: Waiter[] = []
  /** Granted, but not yet counted by quiche, which does so with the first byte. */
  private granted = { bidi: 0, uni: 0 }

  constructor (conn: Pick<QuicheConnection, 'peerStreamsLeftBidi' | 'peerStreamsLeftUni'>) {
    this.conn = conn
  }

  get waiting (): number { return this.waiters.length }

  /** Resolves when one stream may be opened. @throws TransportError no-credit when too many wait, or after `expire` */
  take (bidi: boolean, now: number): Promise<void> {
    if (this.waiters.length === 0 && this.grant(bidi)) return Promise.resolve()
    if (this.waiters.length >= MAX_WAITING) return Promise.reject(new TransportError('no-credit', 'too many streams wait for credit'))
    return new Promise((resolve, reject) => { this.waiters.push({ bidi, since: now, resolve, reject }) })
  }

  /** quiche counts the stream itself from now on, or it never came to be. */
  settle (bidi: boolean): void {
    this.granted[bidi ? 'bidi' : 'uni']--
  }

  /** The peer may have raised its limits. */
  update (): void {
    if (this.waiters.length === 0) return
    this.waiters = this.waiters.filter((waiter) => {
      if (!this.grant(waiter.bidi)) return true
      waiter.resolve()
      return false
    })
  }

  /** Rejects those who have waited since before `since`. */
  expire (since: number): void {
    this.rejectIf((waiter) => waiter.since < since, new TransportError('no-credit', 'the peer gives no stream credit'))
  }

  /** The connection is over. */
  close (error: TransportError): void {
    this.rejectIf(() => true, error)
  }

  private rejectIf (which: (waiter: Waiter) => boolean, error: TransportError): void {
    const rejected = this.waiters.filter(which)
    if (rejected.length === 0) return
    this.waiters = this.waiters.filter((waiter) => !which(waiter))
    for (const waiter of rejected) waiter.reject(error)
  }

  private grant (bidi: boolean): boolean {
    const left = bidi ? this.conn.peerStreamsLeftBidi() - this.granted.bidi : this.conn.peerStreamsLeftUni() - this.granted.uni
    if (left <= 0) return false
    this.granted[bidi ? 'bidi' : 'uni']++
    return true
  }
}
