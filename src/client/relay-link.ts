import type { ControlMessage } from '../wire/control-messages.ts'
import { signalOf, type BandwidthSignal } from './bandwidth-signal.ts'
import { ShardClientError } from './client-error.ts'
import { relayBase } from './dial.ts'
import type { DialMode, Dialled, TransportInfo } from './dial.ts'
import type { ClientPlatform } from './platform.ts'
import type { Road } from './road.ts'
import { abortable, backoffMs, delay } from './waiting.ts'

export interface LinkOptions {
  readonly dial: (relayUrl: string, onControl: (message: ControlMessage) => void, signal: AbortSignal, mode?: DialMode) => Promise<Dialled>
  readonly platform: ClientPlatform
  /** Attempts in a row before those who wait for a connection are told so. */
  readonly attempts: number
  readonly onTransport: ((info: TransportInfo) => void) | undefined
  readonly onControl: ((message: ControlMessage) => void) | undefined
  /** What the connection in use says of bandwidth has changed; undefined when nothing limits it, as far as is known. */
  readonly onBandwidth: (signal: BandwidthSignal | undefined) => void
  /** Rank of a transport, 0 for the best; a client that has lost a better one looks for it again. */
  readonly rank: (info: TransportInfo) => number
}

/** One connection and the exchanges that use it. */
export interface Lane {
  readonly road: Road
  readonly info: TransportInfo
  readonly since: number
  inFlight: number
  /** No longer handed out; closed when its last exchange is over. */
  retired: boolean
}

/** A lane that lives shorter than this, milliseconds, counts as failed, so that a relay in a crash loop is not dialled in a tight one. */
const SHORT_LIFE_MS = 5_000
/** Control messages kept that come while a connection is still being made; a relay has no more kinds of them. */
const MAX_EARLY = 4
/** Moves a relay may ask for in a minute; two relays that redirect to each other get no more. */
const MAX_MOVES_PER_MINUTE = 5
/** First and longest pause before looking for a better transport again, milliseconds. */
const UPGRADE_FIRST_MS = 5_000
const UPGRADE_CAP_MS = 60_000

/** A connection that is not in use yet. */
interface NewRoad extends Dialled {
  /** What the relay has said meanwhile. */
  readonly early: readonly ControlMessage[]
}

/** Keeps the client connected: the only layer that retries connecting, and the one that follows drain and redirect. */
export class RelayLink {
  readonly #options: LinkOptions
  readonly #life = new AbortController()
  readonly #home: string
  #relayUrl: string
  #lane: Lane | undefined
  #connecting: Promise<Lane> | undefined
  #failures = 0
  #moves: number[] = []
  #moving = false
  #bestRank = Number.POSITIVE_INFINITY
  /** The relay offers less than it does in better times. */
  #hopeful = false
  #cancelUpgrade = (): void => {}

  /** @param relayUrl as {@link relayBase} gives it */
  constructor (relayUrl: string, options: LinkOptions) {
    this.#home = relayUrl
    this.#relayUrl = relayUrl
    this.#options = options
  }

  get current (): Lane | undefined { return this.#lane }

  /**
   * A connection to use, to be given back with {@link release}.
   * @throws ShardClientError connect, closed; or the reason of the signal
   */
  async acquire (signal: AbortSignal): Promise<Lane> {
    this.#life.signal.throwIfAborted()
    const lane = this.#lane ?? await abortable(this.#connect(), signal)
    lane.inFlight++
    return lane
  }

  release (lane: Lane): void {
    lane.inFlight--
    if (lane.retired && lane.inFlight === 0) lane.road.close()
  }

  /** An exchange found that the connection is gone; known before the transport says so. */
  lost (lane: Lane): void {
    lane.road.close()
    this.retire(lane)
  }

  /** Uses this connection for nothing new and makes another; what is under way on it goes on. */
  retire (lane: Lane): void {
    this.#leave(lane)
    if (this.#lane !== lane) return
    this.#lane = undefined
    this.#cancelUpgrade()
    this.#failures = this.#options.platform.now() - lane.since < SHORT_LIFE_MS ? this.#failures + 1 : 0
    // Reconnecting at once keeps the control stream; who needs a connection meanwhile meets the error itself.
    if (!this.#life.signal.aborted) this.#connect().catch(() => {})
  }

  close (): void {
    this.#cancelUpgrade()
    this.#life.abort(new ShardClientError('closed', 'the client was closed'))
    this.#lane?.road.close()
    this.#lane = undefined
  }

  #leave (lane: Lane): void {
    lane.retired = true
    if (lane.inFlight === 0) lane.road.close()
  }

  #connect (): Promise<Lane> {
    this.#connecting ??= this.#attempts().finally(() => { this.#connecting = undefined })
    return this.#connecting
  }

  async #attempts (): Promise<Lane> {
    const { attempts, platform } = this.#options
    const urls = [...new Set([this.#relayUrl, this.#home])]
    for (let attempt = 0; ; attempt++) {
      if (this.#failures > 0) await delay(backoffMs(this.#failures, platform.random()), this.#life.signal, platform.after)
      try {
        return this.#install(await this.#dial(urls[attempt % urls.length] ?? this.#home))
      } catch (error) {
        this.#life.signal.throwIfAborted()
        this.#failures++
        if (attempt + 1 >= attempts) throw error
      }
    }
  }

  async #dial (relayUrl: string, mode?: DialMode): Promise<NewRoad> {
    const own: { road?: Road } = {}
    const early: ControlMessage[] = []
    const dialled = await this.#options.dial(relayUrl, (message) => {
      // A relay that sheds load may say so with the first packet.
      if (own.road === undefined && early.length < MAX_EARLY) early.push(message)
      // What a connection says that is not in use any more does not count.
      if (own.road !== undefined && own.road === this.#lane?.road) this.#follow(message, relayUrl)
      this.#options.onControl?.(message)
    }, this.#life.signal, mode)
    own.road = dialled.road
    return { ...dialled, early }
  }

  #install ({ road, info, early }: NewRoad): Lane {
    if (this.#life.signal.aborted) {
      road.close()
      this.#life.signal.throwIfAborted()
    }
    const lane: Lane = { road, info, since: this.#options.platform.now(), inFlight: 0, retired: false }
    const old = this.#lane
    this.#lane = lane
    this.#relayUrl = info.relayUrl
    this.#hopeful = info.overloaded === true
    if (old !== undefined) this.#leave(old)
    road.closed.then(() => this.lost(lane), () => {})
    this.#scheduleUpgrade(UPGRADE_FIRST_MS)
    // What another connection was told does not hold here.
    this.#options.onBandwidth(undefined)
    this.#options.onTransport?.(info)
    // After whoever installs it has ended: a move that leads to the next one is over by then.
    queueMicrotask(() => {
      for (const message of early) if (this.#lane === lane) this.#follow(message, info.relayUrl)
    })
    return lane
  }

  #follow (message: ControlMessage, relayUrl: string): void {
    if (message.type === 'bandwidth') this.#options.onBandwidth(signalOf(message))
    if (message.type !== 'drain' && message.type !== 'redirect') return
    const wanted = message.type === 'redirect' ? [message.url] : message.alternates
    // A token must not leave in the clear because a relay says so.
    const urls = wanted.map(relayBase).filter((url) => url !== undefined).filter((url) => url.startsWith('https:') || relayUrl.startsWith('http:'))
    if (message.type === 'drain' && wanted.length === 0) urls.push(relayUrl)
    if (urls.length > 0) this.#move(urls).catch(() => {})
  }

  /** Changes to the first of these relays that answers; the exchanges under way end where they began. */
  async #move (urls: readonly string[]): Promise<void> {
    const now = this.#options.platform.now()
    this.#moves = this.#moves.filter((at) => now - at < 60_000)
    if (this.#moving || this.#moves.length >= MAX_MOVES_PER_MINUTE) return
    this.#moving = true
    this.#moves.push(now)
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
    const { rank, platform } = this.#options
    const lane = this.#lane
    if (lane === undefined) return
    const mine = rank(lane.info)
    this.#bestRank = Math.min(this.#bestRank, mine)
    if (mine === 0 || (mine <= this.#bestRank && !this.#hopeful)) return
    this.#cancelUpgrade = platform.after(waitMs, () => {
      this.#upgrade(lane, mine).catch(() => {}).finally(() => {
        if (this.#lane === lane) this.#scheduleUpgrade(Math.min(UPGRADE_CAP_MS, waitMs * 2))
      })
    })
  }

  /** Looks where we are, and where we came from: whoever was sent to a super-node comes home when the relay has recovered. */
  async #upgrade (lane: Lane, mine: number): Promise<void> {
    for (const url of new Set([lane.info.relayUrl, this.#home])) {
      const dialled = await this.#dial(url, { unlessOverloaded: true }).catch(() => undefined)
      if (dialled === undefined) continue
      if (this.#lane === lane && this.#options.rank(dialled.info) < mine) {
        this.#install(dialled)
        return
      }
      dialled.road.close()
      if (this.#lane !== lane) return
      this.#hopeful = false
    }
  }
}
