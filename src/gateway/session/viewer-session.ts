import type { AnswerContext } from '../../protocol/answer.ts'
import { requestToken } from '../../admission/request-token.ts'
import { ANONYMOUS, ViewerRefused, type Admitted, type Verdict } from '../../admission/verdict.ts'
import { RelayError } from '../../base/errors.ts'
import type { BandwidthAdvice } from '../../pacing/viewer-share.ts'
import type { ShardKey } from '../../protocol/shard-key.ts'
import type { BidiStream, SessionClose, SessionRequest, TransportSession } from '../../protocol/transport-session.ts'
import { ControlSender } from './control-sender.ts'
import { SessionMachine } from './session-machine.ts'
import type { ResolveRequest, SessionAction, SessionEvent, SessionLimits, SessionPace, ViewerSessionStats, StreamEvent, StreamReport } from './session-types.ts'
import type { ShardLease, ShardSource } from './shard-source.ts'

/** Counts and times of a session; methods must not throw. */
export interface SessionObserver {
  /** Called once for every stream, when it is over. @param subject who its token says the viewer is */
  stream (report: StreamReport, subject: string | undefined): void
  /** Called once, when the session is over. */
  closed (close: SessionClose, stats: ViewerSessionStats): void
  /** So many bytes were admitted; negative ones were given back. */
  granted (bytes: number): void
  /** A defect of the session itself, which has been closed for it. */
  fault (error: unknown): void
}

/** The viewer's part of the bandwidth. */
export interface ViewerPace extends SessionPace {
  /** Bytes that may be read now, 1 to `wanted`, or a promise of them that rejects when the signal aborts. @throws RelayError */
  take (wanted: number, signal: AbortSignal): number | Promise<number>
  giveBack (bytes: number): void
  /** What the viewer is to be told of its bandwidth now, if anything. @param now monotonic, ms */
  news (now: number): BandwidthAdvice | undefined
}

export interface ViewerSessionDeps {
  readonly source: ShardSource
  /** Judges a token for an object; undefined when the viewer sent none. A rejection counts as an internal error. */
  readonly authorize: (token: string | undefined, key: ShardKey) => Verdict | Promise<Verdict>
  readonly observer: SessionObserver
  /** Monotonic milliseconds. */
  readonly now: () => number
  readonly limits: SessionLimits
  /** Whether the address of the viewer may send another request, which is charged when it may; it always may by default. */
  readonly mayRequest?: (now: number) => boolean
  /** For requests that bring no id; all have the same without it. */
  readonly newRequestId?: () => string
  /** Unlimited without one. */
  readonly pace?: ViewerPace
  /** What answers depend on besides request and object. */
  readonly answering: () => Omit<AnswerContext, 'openMs'>
  readonly version: string
  readonly region: string
}

interface StreamEntry {
  readonly stream: BidiStream
  receiving: boolean
  abort: AbortController | undefined
  lease: ShardLease | undefined
  /** Who its token says the viewer is. */
  subject: string | undefined
}

const NEVER = new AbortController().signal

/** The token a viewer gave once for its session: a bearer field, or `?token=` of the session URL. Secret, never to be logged. */
export function sessionToken (request: SessionRequest): string | undefined {
  return requestToken(request.headers['authorization'], request.path)
}

/** Carries one transport session: moves bytes between its streams, the object source and the {@link SessionMachine}. */
export class ViewerSession {
  readonly transport: TransportSession
  readonly #deps: ViewerSessionDeps
  readonly #machine: SessionMachine
  readonly #control: ControlSender
  readonly #streams = new Map<string, StreamEntry>()
  readonly #events: Array<SessionEvent | StreamEvent> = []
  readonly #token: string | undefined
  #viewer = ANONYMOUS
  #running = false
  #greeted = false

  /** Takes over the session immediately, so that no stream of it is missed. */
  constructor (transport: TransportSession, deps: ViewerSessionDeps) {
    this.transport = transport
    this.#deps = deps
    this.#machine = new SessionMachine(deps.limits, deps.now(), deps.pace, deps.mayRequest, deps.newRequestId)
    this.#control = new ControlSender(() => transport.openUni())
    this.#token = sessionToken(transport.request)
    transport.onStream = stream => this.#accept(stream)
    transport.onUni = stream => stream.cancel(0)
    this.#spawn(transport.closed.then(close => {
      this.#dispatch({ type: 'closed' })
      this.#control.stop()
      deps.observer.closed(close, this.#machine.stats())
    }))
  }

  /** Who the viewer of the latest admitted request is, and its weight class. */
  get viewer (): Admitted { return this.#viewer }

  /** To be called several times a second: nothing times out without it. */
  tick (): void {
    this.#greet()
    this.#advise()
    this.#dispatch({ type: 'tick' })
  }

  /** Another limit of requests, from now on. */
  limitRequests (perSecond: number): void {
    this.#dispatch({ type: 'request-rate', perSecond })
  }

  /** Asks the viewer to move within `deadlineMs`, then closes the session. */
  drain (deadlineMs: number, alternates: readonly string[]): void {
    this.#dispatch({ type: 'drain', deadlineMs, alternates })
  }

  /** Asks the viewer to use another relay from now on. */
  redirect (url: string, reason: string): void {
    this.#control.send({ type: 'redirect', url, reason })
  }

  /** Tells the viewer its share of the relay's bandwidth and the rendition that fits it. */
  bandwidth (bitsPerSecond: number, suggestedRendition: string): void {
    this.#control.send({ type: 'bandwidth', bitsPerSecond, suggestedRendition })
  }

  close (code: number, reason: string): void {
    this.transport.close(code, reason)
  }

  stats (): ViewerSessionStats {
    return this.#machine.stats()
  }

  /** With the first stream or tick, not before: engines cancel a control stream that arrives before the viewer listens. */
  #greet (): void {
    if (this.#greeted) return
    this.#greeted = true
    const { version, region, limits: { maxStreams, requestTimeoutMs, idleTimeoutMs } } = this.#deps
    this.#control.send({ type: 'hello', version, region, limits: { maxStreams, requestTimeoutMs, idleTimeoutMs } })
    // Before the first answer, so that a player knows it before it asks for more.
    this.#advise()
  }

  #advise (): void {
    const news = this.#deps.pace?.news(this.#deps.now())
    if (news !== undefined) this.bandwidth(news.bitsPerSecond, news.rendition)
  }

  #accept (stream: BidiStream): void {
    this.#greet()
    const entry: StreamEntry = { stream, receiving: true, abort: undefined, lease: undefined, subject: undefined }
    this.#streams.set(stream.id, entry)
    stream.stopped.addEventListener('abort', () => this.#dispatch({ type: 'peer-stopped', id: stream.id }), { once: true })
    this.#dispatch({ type: 'opened', id: stream.id })
    if (entry.receiving) this.#spawn(this.#receive(stream.id, entry))
  }

  /** None of the tasks rejects unless the session has a defect. */
  #spawn (task: Promise<void>): void {
    task.catch((error: unknown) => {
      this.#deps.observer.fault(error)
      this.transport.close(0, 'internal error')
    })
  }

  async #receive (id: string, entry: StreamEntry): Promise<void> {
    try {
      while (entry.receiving) {
        const chunk = await entry.stream.read()
        if (!entry.receiving) return
        if (chunk !== null) {
          this.#dispatch({ type: 'bytes', id, chunk })
        } else {
          entry.receiving = false
          this.#dispatch({ type: 'fin', id })
        }
      }
    } catch {
      // A read that we ended ourselves says nothing about the viewer.
      if (entry.receiving) this.#dispatch({ type: 'peer-reset', id })
      entry.receiving = false
    }
  }

  /** Events raised while actions run wait, so that the machine is never entered twice. */
  #dispatch (event: SessionEvent | StreamEvent): void {
    this.#events.push(event)
    if (this.#running) return
    this.#running = true
    try {
      for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
        for (const action of this.#machine.handle(next, this.#deps.now())) this.#run(action)
      }
    } finally {
      this.#running = false
    }
  }

  #run (action: SessionAction): void {
    if (action.type === 'report') return this.#deps.observer.stream(action.report, this.#streams.get(action.id)?.subject)
    if (action.type === 'control') return this.#control.send(action.message)
    if (action.type === 'filling') {
      const objects = action.streams.map(({ id, path, bytes }) => ({ path, bytes: Math.max(bytes, this.#streams.get(id)?.lease?.readable ?? 0) }))
      return this.#control.send({ type: 'filling', objects })
    }
    if (action.type === 'close') return this.transport.close(action.code, action.reason)
    const entry = this.#streams.get(action.id)
    if (entry === undefined) return
    const { id } = action
    switch (action.type) {
      case 'resolve': this.#spawn(this.#resolve(id, entry, action.request)); break
      case 'admit': this.#admit(id, entry, action.maxBytes); break
      case 'give-back':
        this.#deps.pace?.giveBack(action.bytes)
        this.#deps.observer.granted(-action.bytes)
        break
      case 'read': this.#spawn(this.#read(id, entry, action.position, action.maxBytes)); break
      case 'write': this.#spawn(this.#send(id, () => entry.stream.write(action.chunk))); break
      case 'end': this.#spawn(this.#send(id, () => entry.stream.end())); break
      case 'abort': entry.abort?.abort(); break
      case 'reset': entry.stream.reset(action.code); break
      case 'cancel':
        entry.receiving = false
        entry.stream.cancel(action.code)
        break
      case 'release':
        entry.lease?.release()
        entry.lease = undefined
        break
      case 'forget': this.#streams.delete(id); break
    }
  }

  async #resolve (id: string, entry: StreamEntry, request: ResolveRequest): Promise<void> {
    const { key, range, trace, next = [] } = request
    const token = request.token ?? this.#token
    entry.abort = new AbortController()
    const { signal } = entry.abort
    try {
      // For every request, since the token of a session may have expired or been revoked since the last.
      const verdict = await this.#deps.authorize(token, key)
      if (!verdict.ok) throw new ViewerRefused(verdict)
      this.#viewer = verdict
      entry.subject = verdict.identity
      const allowed = next.length === 0 ? next : await this.#allowed(next, token)
      signal.throwIfAborted()
      entry.lease = await this.#deps.source.resolve(key, { range, trace, next: allowed, signal })
    } catch (error) {
      return this.#dispatch({ type: 'rejected', id, error })
    }
    const { size, sha256, verified, lasting, lifetime, origin } = entry.lease
    this.#dispatch({ type: 'resolved', id, facts: { size, sha256, verified, lasting, lifetime, origin }, context: this.#deps.answering() })
  }

  /** Those that the viewer may have. */
  async #allowed (keys: readonly ShardKey[], token: string | undefined): Promise<ShardKey[]> {
    const verdicts = await Promise.all(keys.map(async key => await this.#deps.authorize(token, key)))
    return keys.filter((_, n) => verdicts[n]?.ok)
  }

  /** In the same turn where there is enough. */
  #admit (id: string, entry: StreamEntry, maxBytes: number): void {
    const admitted = (bytes: number): void => {
      this.#deps.observer.granted(bytes)
      this.#dispatch({ type: 'admitted', id, bytes })
    }
    const failed = (error: unknown): void => { this.#dispatch({ type: 'admit-failed', id, error }) }
    try {
      const bytes = this.#deps.pace?.take(maxBytes, entry.abort?.signal ?? NEVER) ?? maxBytes
      if (typeof bytes === 'number') admitted(bytes)
      else this.#spawn(bytes.then(admitted, failed))
    } catch (error) {
      failed(error)
    }
  }

  async #read (id: string, entry: StreamEntry, position: number, maxBytes: number): Promise<void> {
    let chunk: Uint8Array
    try {
      if (entry.lease === undefined) throw new RelayError('RELAY_ERR_INTERNAL', 'nothing is held for this stream')
      chunk = await entry.lease.body.read(position, maxBytes)
    } catch (error) {
      return this.#dispatch({ type: 'read-failed', id, error })
    }
    this.#dispatch({ type: 'read', id, chunk })
  }

  async #send (id: string, send: () => Promise<void>): Promise<void> {
    try {
      await send()
    } catch {
      return this.#dispatch({ type: 'write-failed', id })
    }
    this.#dispatch({ type: 'written', id })
  }
}
