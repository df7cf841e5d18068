import type { ControlMessage } from '../../src/protocol/control-messages.ts'
import { signalOf } from './bandwidth-signal.ts'
import { ShardClientError } from './client-error.ts'
import type { DialMode } from './dial.ts'
import type { GatewayWatch } from './gateway-watch.ts'
import { PooledSession } from './pooled-session.ts'
import type { LinkOptions } from './link-options.ts'
import { SessionPool } from './session-pool.ts'
import { MoveBudget, destinations } from './moves.ts'
import { PagePresence } from './page-presence.ts'
import type { Sessions, SharedBody } from './shared-body.ts'
import { TransportChoice } from './transport-choice.ts'
import { TransportMemory } from './transport-memory.ts'
import { loadedSessions } from './late-parts.ts'
import type { TransportScout } from './transport-scout.ts'
import type { TransportInfo, TransportName } from './transports.ts'
import { abortable, backoffMs, delay } from './waiting.ts'

/** A session that lives shorter than this, milliseconds, counts as failed, so that a relay in a crash loop is not dialled in a tight one. */
const SHORT_LIFE_MS = 5_000
/** Control messages kept that come while a connection is still being made; a relay has no more kinds of them. */
const MAX_EARLY = 4
/** First and longest pause before looking for a better transport again, milliseconds. */
const UPGRADE_FIRST_MS = 5_000
const UPGRADE_CAP_MS = 60_000
/** Longest pause that a relay may ask for before it is asked for a session again, milliseconds. */
const MAX_RETRY_AFTER_MS = 60_000

type Aim = Pick<DialMode, 'unlessOverloaded'> & { readonly only?: TransportName }

/** Keeps the client connected: the only layer that retries connecting, and the one that follows drain and redirect. */
export class RelayLink implements Sessions {
  readonly #options: LinkOptions
  readonly #life = new AbortController()
  readonly #home: string
  readonly #pool: SessionPool
  readonly #choice: TransportChoice
  readonly #page: PagePresence
  #watch: GatewayWatch | undefined
  #scouting: TransportScout | undefined
  #relayUrl: string
  #connecting: Promise<void> | undefined
  #failures = 0
  readonly #moves = new MoveBudget()
  #moving = false
  #bestRank = Number.POSITIVE_INFINITY
  /** The relay offers less than it does in better times. */
  #hopeful = false
  #cancelUpgrade = (): void => {}
  /** The relay and the transport in use; another one with each that is chosen. */
  #place = {}

  /** @param relayUrl as {@link relayBase} gives it */
  constructor (relayUrl: string, options: LinkOptions) {
    const { platform } = options
    this.#home = relayUrl
    this.#relayUrl = relayUrl
    this.#options = options
    this.#choice = new TransportChoice(platform.memory ?? new TransportMemory(), options.transports, platform.now)
    this.#pool = new SessionPool({
      platform,
      open: async ({ relayUrl: url, transport }) => await this.#dial(url, { only: transport }),
      limitBps: () => this.#pool.first?.bandwidth?.bitsPerSecond,
      onFirst: () => options.onBandwidth(this.#pool.first?.bandwidth),
      // What the relay said before the session was in use; after whoever takes it into use has ended: a move that leads to the next one is over by then.
      onJoin: session => { queueMicrotask(() => { for (const message of session.early.splice(0)) this.#hear(session, message) }) },
      onLate: (since, rate) => {
        const [info, place] = [this.#pool.first?.info, this.#place]
        if (info !== undefined) this.#scout()?.late(info, since, rate, () => this.#place === place)
      },
      onSample: sample => this.#scouting?.sampled(sample)
    })
    // A page that is left closes its sessions; one that comes out of the browser's cache opens new ones.
    this.#page = new PagePresence(platform, () => {
      this.#cancelUpgrade()
      this.#pool.cut()
    }, () => { this.#connect().catch(() => {}) })
  }

  /**
   * A connection to use, to be given back with {@link release}.
   * @throws ShardClientError connect, closed; or the reason of the signal
   */
  async acquire (signal: AbortSignal): Promise<PooledSession> {
    for (;;) {
      this.#life.signal.throwIfAborted()
      const session = await this.#pool.take(signal)
      if (session !== undefined) this.#watching()?.asked(session)
      if (session !== undefined) return session
      await abortable(this.#connect(), signal)
    }
  }

  join (body: SharedBody): void { this.#pool.join(body) }
  leave (body: SharedBody): void { this.#pool.leave(body) }
  received (session: PooledSession, bytes: number): void {
    session.heardAt = this.#options.platform.now()
    this.#pool.received(session, bytes)
  }

  release (session: PooledSession): void { this.#pool.release(session) }

  failed (session: PooledSession, error: unknown): void {
    if (!(error instanceof ShardClientError)) return
    // An exchange may find that the connection is gone before the transport says so.
    if (error.fault === 'session-lost') this.#lost(session)
    if (error.fault !== 'stalled') return
    // "Connected" is not "usable": what has never delivered anything does not become better by connecting again.
    if (session.received === 0) this.#choice.demote(session.info, `connected, but ${error.message}`)
    // What answers others is there; this one object does not come.
    if (this.#options.platform.now() - session.heardAt < this.#options.stallMs / 2) return
    // A path that carries nothing may be gone without a word, or a session may be out of streams for good.
    this.#retire(session)
  }

  close (): void {
    this.#cancelUpgrade()
    this.#life.abort(new ShardClientError('closed', 'the client was closed'))
    this.#page.close()
    this.#watch?.close()
    this.#pool.cut()
  }

  #lost (session: PooledSession): void {
    session.connection.close()
    this.#retire(session)
  }

  /** Uses this connection for nothing new, and makes another when it was the last; what is under way on it goes on. */
  #retire (session: PooledSession): void {
    if (!this.#pool.remove(session)) return
    const isShort = this.#options.platform.now() - session.since < SHORT_LIFE_MS
    if (this.#pool.size > 0) {
      if (isShort) this.#pool.refused(0)
      return
    }
    this.#cancelUpgrade()
    this.#failures = isShort ? this.#failures + 1 : 0
    // Reconnecting immediately keeps the control stream; who needs a connection meanwhile meets the error itself.
    if (!this.#life.signal.aborted && !this.#page.isAway) this.#connect().catch(() => {})
  }

  #connect (): Promise<void> {
    this.#connecting ??= this.#attempts().finally(() => { this.#connecting = undefined })
    return this.#connecting
  }

  async #attempts (): Promise<void> {
    const { alternates, attempts, platform } = this.#options
    const urls = [...new Set([this.#relayUrl, this.#home, ...alternates])]
    let askedMs = 0
    for (let attempt = 0; ; attempt++) {
      const pauseMs = Math.max(askedMs, this.#failures > 0 ? backoffMs(this.#failures, platform.random()) : 0)
      if (pauseMs > 0) await delay(pauseMs, this.#life.signal, platform.after)
      await this.#page.wait()
      this.#life.signal.throwIfAborted()
      try {
        return this.#install(await this.#dial(urls[attempt % urls.length] ?? this.#home))
      } catch (error) {
        this.#life.signal.throwIfAborted()
        this.#failures++
        if (attempt + 1 >= attempts()) throw error
        askedMs = Math.min(MAX_RETRY_AFTER_MS, error instanceof ShardClientError ? error.retryAfterMs ?? 0 : 0)
      }
    }
  }

  async #dial (relayUrl: string, { only, unlessOverloaded }: Aim = {}): Promise<PooledSession> {
    const { dial, platform } = this.#options
    const own: { session?: PooledSession } = {}
    const early: ControlMessage[] = []
    const candidates = only === undefined ? this.#choice.candidates(relayUrl) : [{ transport: only, demoted: undefined }]
    const { connection, info, gateway, unanswered } = await dial(relayUrl, message => {
      // A relay that sheds load may say so with the first packet.
      if (own.session !== undefined) this.#hear(own.session, message)
      else if (early.length < MAX_EARLY) early.push(message)
    }, this.#life.signal, { candidates, unlessOverloaded })
    this.#choice.unanswered(info.relayUrl, unanswered)
    const session = new PooledSession(connection, info, platform.now(), gateway)
    own.session = session
    for (const message of early) this.#hear(session, message)
    connection.closed.then(() => this.#lost(session), () => {})
    if (!this.#life.signal.aborted && !this.#page.isAway) return session
    connection.close()
    this.#life.signal.throwIfAborted()
    throw new ShardClientError('connect', 'the page was left')
  }

  /** Made with the first request of a session. */
  #watching (): GatewayWatch | undefined {
    const { GatewayWatch } = loadedSessions() ?? {}
    this.#watch ??= GatewayWatch && new GatewayWatch({
      platform: this.#options.platform,
      sessions: () => this.#pool.sessions,
      ask: async url => await this.#options.gatewayOf(url, this.#life.signal),
      gone: session => { this.#lost(session) }
    })
    return this.#watch
  }

  /** Made when answers are late first; undefined without sessions, where there is no other transport to look for. */
  #scout (): TransportScout | undefined {
    const { TransportScout } = loadedSessions() ?? {}
    this.#scouting ??= TransportScout && new TransportScout({
      platform: this.#options.platform,
      signal: this.#life.signal,
      candidates: url => this.#choice.candidates(url),
      dial: (url, only) => this.#dial(url, { only }),
      favour: session => this.#pool.favour(session),
      dismiss: session => { this.#pool.remove(session) },
      choose: session => {
        this.#choice.chosen(session.info)
        this.#install(session)
      }
    })
    return this.#scouting
  }

  #install (session: PooledSession): void {
    this.#place = {}
    this.#relayUrl = session.info.relayUrl
    this.#choice.taken(session.info.transport)
    this.#hopeful = session.info.overloaded === true
    this.#pool.replaceAll(session)
    this.#scheduleUpgrade(UPGRADE_FIRST_MS)
    this.#options.onTransport?.(session.info)
  }

  #hear (session: PooledSession, message: ControlMessage): void {
    session.heardAt = this.#options.platform.now()
    if (message.type === 'ping') return
    if (message.type === 'filling') session.filling(message.objects)
    if (!this.#pool.has(session)) {
      // What a session says that is not in use any more does not count.
      if (!session.retired && session.early.length < MAX_EARLY) session.early.push(message)
      return
    }
    if (message.type === 'bandwidth') session.bandwidth = signalOf(message)
    // All sessions hear the same; the first one speaks for them.
    if (session === this.#pool.first) {
      if (message.type === 'bandwidth') this.#options.onBandwidth(session.bandwidth)
      this.#options.onControl?.(message)
    }
    if (message.type === 'drain' && this.#pool.size > 1) this.#pool.remove(session)
    else if (message.type === 'drain' || message.type === 'redirect') this.#follow(message, session.info.relayUrl)
  }

  #follow (message: Extract<ControlMessage, { type: 'drain' | 'redirect' }>, relayUrl: string): void {
    const urls = destinations(message, relayUrl)
    if (urls.length > 0) this.#move(urls).catch(() => {})
  }

  /** Changes to the first of these relays that answers; the exchanges under way end where they began. */
  async #move (urls: readonly string[]): Promise<void> {
    if (this.#moving || !this.#moves.spend(this.#options.platform.now())) return
    this.#moving = true
    try {
      for (const url of urls) {
        try {
          this.#install(await this.#dial(url))
          return
        } catch {
          // The next one may answer; if none does, the present connection serves until the relay ends it.
          this.#life.signal.throwIfAborted()
        }
      }
    } finally {
      this.#moving = false
    }
  }

  /** A network that carried a better transport before may do so again, and an overload passes; whoever never had one otherwise is left in peace. */
  #scheduleUpgrade (waitMs: number): void {
    this.#cancelUpgrade()
    const info = this.#pool.first?.info
    if (info === undefined) return
    const mine = this.#choice.rank(info)
    this.#bestRank = Math.min(this.#bestRank, mine)
    const isSettled = mine === 0 || (mine <= this.#bestRank && !this.#hopeful)
    const changesInMs = this.#choice.changesIn(info.relayUrl)
    if (isSettled && changesInMs === undefined) return
    const place = this.#place
    this.#cancelUpgrade = this.#options.platform.after(isSettled && changesInMs !== undefined ? changesInMs : waitMs, () => {
      this.#upgrade(info).catch(() => {}).finally(() => {
        if (this.#place === place) this.#scheduleUpgrade(Math.min(UPGRADE_CAP_MS, waitMs * 2))
      })
    })
  }

  /** Looks where we are, and where we came from: whoever was sent to a super-node comes home when the relay has recovered. */
  async #upgrade (info: TransportInfo): Promise<void> {
    const place = this.#place
    for (const url of new Set([info.relayUrl, this.#home])) {
      const session = await this.#dial(url, { unlessOverloaded: true }).catch(() => undefined)
      if (session === undefined) continue
      if (this.#place === place && this.#pool.size > 0 && this.#choice.rank(session.info) < this.#choice.rank(info)) return this.#install(session)
      session.leave()
      if (this.#place !== place) return
      this.#hopeful = false
    }
  }
}
