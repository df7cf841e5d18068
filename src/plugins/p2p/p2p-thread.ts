import type { Timers } from '../../base/clock.ts'
import { deferred, type Deferred } from '../../base/deferred.ts'
import { RelayError } from '../../base/errors.ts'
import type { HolderFault } from '../../protocol/holder-record.ts'
import type { LookupEnd } from './holder-directory.ts'
import type { KnownHolders, P2pOrder, P2pReport, P2pState } from './p2p-messages.ts'

/** The thread as it is used here; tests pass one of their own. */
export interface Thread {
  postMessage (order: P2pOrder): void
  on (event: 'message', listener: (report: P2pReport) => void): unknown
  on (event: 'error', listener: (error: unknown) => void): unknown
  on (event: 'exit', listener: (code: number) => void): unknown
  terminate (): Promise<unknown>
  unref (): void
}

export interface P2pThreadOptions {
  readonly start: () => Thread
  readonly timers: Timers
  readonly observer: {
    refused (cid: string, fault: HolderFault, detail: string): void
    restarted (): void
  }
  readonly log: (level: 'info' | 'warn', message: string, fields: Record<string, unknown>) => void
}

/** Time the thread has to be ready: it loads some three hundred files, ms. */
const READY_MS = 30_000
/** Time it has to say goodbye to its peers, ms. */
const STOP_MS = 2_000
/** Pauses before it is started again; they double while it does not stay, ms. */
export const RESTART_MS = 1_000
export const MAX_RESTART_MS = 60_000

interface Lookup {
  readonly cid: string
  readonly found: (known: KnownHolders) => void
  readonly end: (how: LookupEnd) => void
  refused: boolean
}

/** The thread of libp2p as the relay sees it. One that ends is started again; what it was asked for has failed by then. */
export class P2pThread {
  readonly #options: P2pThreadOptions
  readonly #lookups = new Map<number, Lookup>()
  #thread: Thread | undefined
  #state: P2pState | undefined
  #text: string | undefined
  #lastId = 0
  #pauseMs = RESTART_MS
  /** Monotonic ms since when it is ready; undefined while it is not. */
  #upSince: number | undefined
  #cancelStart = (): void => {}
  #closed = false

  constructor (options: P2pThreadOptions) {
    this.#options = options
  }

  /** Undefined while it does not run, and before it has said anything. */
  get state (): P2pState | undefined { return this.#state }

  /** @throws RelayError RELAY_ERR_CONFIG when packages are missing, RELAY_ERR_LISTEN, RELAY_ERR_INTERNAL */
  async start (): Promise<void> {
    const { timers, log } = this.#options
    const thread = this.#options.start()
    const ready = deferred<undefined>()
    this.#thread = thread
    thread.unref()
    thread.on('message', report => { if (this.#thread === thread) this.#take(report, ready) })
    thread.on('error', error => { this.#ended(thread, ready, error instanceof Error ? error.message : String(error)) })
    thread.on('exit', code => { this.#ended(thread, ready, `it has ended with ${code}`) })
    const cancel = timers.after(READY_MS, () => { this.#ended(thread, ready, `it was not ready within ${READY_MS} ms`) })
    try {
      await ready.promise
    } catch (error) {
      if (this.#thread === thread) this.#thread = undefined
      await thread.terminate()
      throw error
    } finally {
      cancel()
    }
    if (this.#text !== undefined) thread.postMessage({ do: 'advertise', text: this.#text })
    log('info', 'libp2p is up', {})
  }

  /** Asks peers for the holders of a CID; see `HolderDirectoryOptions`. */
  async ask (cid: string, signal: AbortSignal, found: (known: KnownHolders) => void): Promise<LookupEnd> {
    const thread = this.#thread
    // With nobody to ask, libp2p would wait for somebody.
    if (thread === undefined || this.#state === undefined || this.#state.connected === 0 || signal.aborted) return 'failed'
    const id = ++this.#lastId
    const ended = deferred<LookupEnd>()
    const lookup: Lookup = { cid, found, end: ended.resolve, refused: false }
    const cancel = (): void => {
      thread.postMessage({ do: 'cancel', id })
      ended.resolve(lookup.refused ? 'refused' : 'failed')
    }
    this.#lookups.set(id, lookup)
    signal.addEventListener('abort', cancel, { once: true })
    thread.postMessage({ do: 'find', id, cid })
    try {
      return await ended.promise
    } finally {
      this.#lookups.delete(id)
      signal.removeEventListener('abort', cancel)
    }
  }

  /** What the relay is advertised as from now on; undefined for not at all. */
  advertise (text: string | undefined): void {
    this.#text = text
    this.#thread?.postMessage({ do: 'advertise', text })
  }

  /** Leaves the peers; idempotent. */
  async close (): Promise<void> {
    this.#closed = true
    this.#cancelStart()
    const thread = this.#thread
    if (thread === undefined) return
    this.#thread = undefined
    this.#giveUp()
    const gone = deferred<undefined>()
    thread.on('exit', () => { gone.resolve(undefined) })
    const cancel = this.#options.timers.after(STOP_MS, () => { gone.resolve(undefined) })
    thread.postMessage({ do: 'close' })
    await gone.promise
    cancel()
    await thread.terminate()
  }

  #take (report: P2pReport, ready: Deferred<undefined>): void {
    const { observer, log } = this.#options
    if (report.is === 'ready') {
      this.#upSince = this.#options.timers.now()
      ready.resolve(undefined)
    } else if (report.is === 'unfit') ready.reject(new RelayError(report.code, report.detail))
    else if (report.is === 'state') this.#state = report.state
    else if (report.is === 'log') log(report.level, report.message, report.fields)
    else if (report.is === 'found') this.#lookups.get(report.id)?.found(report.known)
    else if (report.is === 'refused') {
      for (const lookup of this.#lookups.values()) if (lookup.cid === report.cid) lookup.refused = true
      observer.refused(report.cid, report.fault, report.detail)
    } else {
      const lookup = this.#lookups.get(report.id)
      lookup?.end(lookup.refused ? 'refused' : report.error === undefined ? 'asked' : 'failed')
    }
  }

  #ended (thread: Thread, ready: Deferred<undefined>, why: string): void {
    ready.reject(new RelayError('RELAY_ERR_INTERNAL', `the thread of libp2p cannot be started: ${why}`))
    if (this.#thread !== thread || this.#upSince === undefined) return
    // One that lasted begins anew.
    if (this.#options.timers.now() - this.#upSince >= MAX_RESTART_MS) this.#pauseMs = RESTART_MS
    this.#thread = undefined
    this.#giveUp()
    void thread.terminate().catch(() => {})
    this.#options.log('warn', 'libp2p has ended and is started again', { reason: why, pauseMs: this.#pauseMs })
    this.#restart()
  }

  #restart (): void {
    if (this.#closed) return
    this.#cancelStart = this.#options.timers.after(this.#pauseMs, () => {
      this.#pauseMs = Math.min(MAX_RESTART_MS, this.#pauseMs * 2)
      this.#options.observer.restarted()
      this.start().catch((error: unknown) => {
        this.#options.log('warn', 'libp2p does not start', { reason: error instanceof Error ? error.message : String(error), pauseMs: this.#pauseMs })
        this.#restart()
      })
    })
  }

  #giveUp (): void {
    this.#state = undefined
    this.#upSince = undefined
    for (const { end } of this.#lookups.values()) end('failed')
  }
}
