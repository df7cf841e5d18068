import { randomUUID } from 'node:crypto'
import { addressKey } from '../admission/address-key.ts'
import { HandshakeLimiter } from '../admission/handshake-limiter.ts'
import { SharedBuckets } from '../admission/shared-buckets.ts'
import type { Verdict } from '../admission/verdict.ts'
import { ViewerJudge } from '../admission/viewer-judge.ts'
import { systemTimers, type Clock } from '../base/clock.ts'
import { ERRORS } from '../base/errors.ts'
import type { SendToRelay } from '../channel/from-gateway.ts'
import type { GatewayLimits, LiveSettings } from '../channel/live-settings.ts'
import type { GatewaySettings, ToGateway } from '../channel/to-gateway.ts'
import { CLOSE_CODE } from '../protocol/stream-codes.ts'
import type { SessionTransport, SessionTransportName } from '../protocol/session-transports.ts'
import type { SessionRequest, TransportSession } from '../protocol/transport-session.ts'
import { GatewayBandwidth } from './bandwidth.ts'
import { OPEN } from './transports/open.ts'
import { SessionTable } from './session-table.ts'
import { listenerOptions } from './listener-options.ts'
import { GatewayLog } from './gateway-log.ts'
import { GatewayMeter } from './meter.ts'
import { OwnUse } from './own-use.ts'
import { Reception } from './reception.ts'
import { RemoteSource } from './remote-source.ts'
import { Listeners } from './listeners.ts'
import { sessionLimits } from './session-limits.ts'
import { sessionRow, type SessionEntry } from './session-row.ts'
import type { SessionLimits } from './session/session-types.ts'
import { sessionToken, ViewerSession } from './session/viewer-session.ts'
import { StreamAccess } from './stream-access.ts'
import { Shedding } from './shedding.ts'
import { TicketGate } from './ticket-gate.ts'
import type { ListenerEvents, SessionDecision } from './transports/viewer-transport.ts'

/** Sessions look at their timeouts this often, ms. */
const TICK_MS = 250
/** When the relay stops, a viewer with nothing under way gets this long to hear of it, ms: a round trip over a bad network. */
const FAREWELL_MS = 300
/** Time a session that has to move may take to finish what it began, ms: a shard over a slow line. */
const MOVE_DEADLINE_MS = 30_000
/** Used tickets remembered; more than are issued in their life at any configured rate are never used. */
const MAX_SPENT_TICKETS = 10_000
/** Tickets live for a minute, and a bucket lets twice its rate through in a second at most. */
const SPENT_PER_RATE = 2 * 60

const text = (error: unknown): string => error instanceof Error ? error.stack ?? error.message : String(error)

/** Everything inside the gateway process: engines, sessions, and the line to the relay. */
export class Gateway {
  readonly #settings: GatewaySettings
  readonly #send: SendToRelay
  readonly #clock: Clock
  readonly #source: RemoteSource
  readonly #meter = new GatewayMeter()
  readonly #access: StreamAccess
  readonly #log: GatewayLog
  readonly #handshakes: HandshakeLimiter
  readonly #requests: SharedBuckets
  #limits: SessionLimits
  readonly #shedding = new Shedding()
  readonly #use = new OwnUse()
  readonly #judge: ViewerJudge
  readonly #bandwidth: GatewayBandwidth
  readonly #listeners: Listeners
  readonly #sessions = new SessionTable()
  readonly #timers: NodeJS.Timeout[] = []
  #beatAt: number
  #region: string
  #draining: LiveSettings['drain']
  readonly #reception: Reception
  readonly #tickets: TicketGate
  /** What each of the live settings changes. */
  readonly #on: { readonly [K in keyof LiveSettings]: (value: LiveSettings[K]) => void } = {
    tls: tls => { this.#listeners.setTls(tls) },
    limits: limits => { this.#limit(limits) },
    auth: auth => { this.#judge.replace(auth) },
    region: region => { this.#region = region },
    access: access => { this.#access.use(access) },
    debug: debug => { this.#log.debug = debug },
    share: share => { this.#bandwidth.setShare(share) },
    classes: classes => { this.#bandwidth.setClasses(classes) },
    overload: ({ state, targets }) => {
      this.#shedding.set(state, targets)
      this.#source.loadsAllowed = this.#shedding.backgroundAllowed
    },
    networks: lists => { this.#sessions.end(this.#reception.useNetworks(lists)) },
    drain: drain => { this.#drain(drain) }
  }

  /** When the gateway was told to stop, monotonic ms. */
  #stoppingSince: number | undefined

  constructor (settings: GatewaySettings, live: LiveSettings, send: SendToRelay, clock: Clock) {
    this.#settings = settings
    this.#region = live.region
    this.#send = send
    this.#clock = clock
    this.#log = new GatewayLog(send, live.debug)
    this.#access = new StreamAccess({ settings: live.access, send, after: (ms, callback) => systemTimers.after(ms, callback), random: Math.random, now: clock.now })
    this.#source = new RemoteSource(send, settings.transport.ram_bytes, settings.ioTimeoutMs)
    this.#beatAt = clock.monotonic()
    this.#judge = new ViewerJudge(live.auth, clock.now)
    this.#handshakes = new HandshakeLimiter(live.limits)
    this.#tickets = new TicketGate(settings.ticketKey, Math.max(MAX_SPENT_TICKETS, SPENT_PER_RATE * live.limits.handshakesPerSecond))
    this.#reception = new Reception({ tickets: this.#tickets, requireTicket: settings.viewer.require_ticket, networks: live.networks, handshakes: this.#handshakes, clock })
    this.#requests = new SharedBuckets(live.limits.requestsPerSecondPerViewer, live.limits.trackedIps)
    this.#limits = sessionLimits(settings, live.limits, this.#shedding)
    this.#bandwidth = new GatewayBandwidth({
      classes: live.classes,
      share: live.share,
      maxSessions: settings.transport.max_sessions,
      timers: { ...systemTimers, now: clock.monotonic },
      report: demand => { send({ type: 'demand', demand }) }
    })
    this.#listeners = new Listeners({
      tls: live.tls,
      open: async (name, tls) => await OPEN[name](settings, listenerOptions(settings, name, tls), this.#eventsOf(name)),
      changed: info => { this.#send({ type: 'listening', info }) },
      certificateRefused: (transport, error) => { this.#log.write('error', 'certificate not taken over, the old one stays in use', { transport, error: String(error) }) },
      empty: async transport => { await this.#moveAway(transport) }
    })
    this.#update({ overload: live.overload, drain: live.drain })
  }

  /** Opens the listeners and reports them; a transport that cannot be opened is a note and not an end. */
  async start (): Promise<void> {
    this.#timers.push(setInterval(() => { this.#tick() }, TICK_MS), setInterval(() => { this.#beat() }, this.#settings.transport.heartbeat_ms))
    await this.#listeners.open()
    this.#beat()
  }

  take (message: ToGateway): void {
    if (this.#source.take(message)) return
    if (message.type === 'update') this.#update(message.live)
    else if (message.type === 'spent') this.#requests.charge(message.spent, this.#clock.monotonic())
    else if (message.type === 'list') this.#send({ type: 'sessions', id: message.id, rows: Array.from(this.#sessions, sessionRow) })
    else if (message.type === 'disconnect') {
      const entry = this.#sessions.get(message.session)
      entry?.session.close(CLOSE_CODE.none, 'disconnected by the operator')
      this.#send({ type: 'disconnected', id: message.id, found: entry !== undefined })
    }
  }

  /** Asks every viewer to move, waits until what they have under way is sent or the deadline has come, then closes everything. */
  async stop (deadlineMs: number): Promise<void> {
    this.#drain({ deadlineMs, alternates: this.#draining?.alternates ?? [] })
    this.#stoppingSince = this.#clock.monotonic()
    await this.#sessions.left(() => this.#sessions.size === 0, deadlineMs)
    for (const timer of this.#timers) clearInterval(timer)
    this.#use.stop()
    this.#beat()
    await this.#listeners.close()
    this.#bandwidth.close()
  }

  #eventsOf (name: SessionTransport): ListenerEvents {
    return {
      admit: (ip, now) => this.#handshakes.admit(ip, now),
      decide: request => this.#listeners.renewing(name) ? { accept: false, status: 503, failure: 'limit' } : this.#decide(request),
      session: session => { this.#welcome(session) },
      handshakeFailed: (reason, detail) => {
        this.#meter.count('icn_relay_viewer_handshake_failures_total', { reason })
        this.#log.write('debug', 'handshake failed', { reason, detail })
      },
      log: (level, message, fields) => { this.#log.write(level, message, fields ?? {}) }
    }
  }

  #update (live: Partial<LiveSettings>): void {
    for (const [key, value] of Object.entries(live)) (this.#on[key as keyof LiveSettings] as (value: unknown) => void)(value)
  }

  #drain (drain: LiveSettings['drain']): void {
    this.#draining = drain
    if (drain !== undefined) for (const { session } of this.#sessions) this.#guarded(session, () => { session.drain(drain.deadlineMs, drain.alternates) })
  }

  /** Asks the viewers of a transport to move, and ends those that are still there when their time is up. */
  async #moveAway (transport: SessionTransportName): Promise<void> {
    const all = this.#sessions.over(transport)
    for (const { session } of all) this.#guarded(session, () => { session.drain(MOVE_DEADLINE_MS, []) })
    await this.#sessions.left(() => this.#sessions.over(transport).length === 0, MOVE_DEADLINE_MS)
    const rest = this.#sessions.over(transport)
    const streams = rest.reduce((sum, { session }) => sum + session.stats().streams, 0)
    for (const { session } of rest) session.close(CLOSE_CODE.drained, 'drained')
    this.#log.write('info', 'viewers moved for a new certificate', { transport, sessions: all.length, closed: rest.length, streamsCut: streams })
  }

  #limit (limits: GatewayLimits): void {
    this.#handshakes.change(limits)
    this.#requests.change(limits.requestsPerSecondPerViewer, limits.trackedIps)
    this.#limits = sessionLimits(this.#settings, limits, this.#shedding)
    for (const { session } of this.#sessions) this.#guarded(session, () => { session.limitRequests(limits.requestsPerSecondPerViewer) })
  }

  /** Why no more sessions are taken of this address, as an HTTP status; undefined when one is. */
  #full (ip: string): number | undefined {
    if (this.#draining !== undefined || this.#sessions.size >= this.#settings.transport.max_sessions) return 503
    return this.#sessions.of(ip) >= this.#settings.transport.max_sessions_per_ip ? 429 : undefined
  }

  async #judged (token: string | undefined, cid?: string): Promise<Verdict> {
    const verdict = await this.#judge.judge({ token }, cid)
    if (!verdict.ok) this.#meter.count('icn_relay_viewer_refusals_total', { code: verdict.code })
    return verdict
  }

  /** A session that names no valid token is refused only when it named one; without any, each request has to bring its own. */
  async #decide (request: SessionRequest): Promise<SessionDecision> {
    const visitor = this.#reception.identify(request)
    if ('accept' in visitor) return visitor
    const full = this.#full(visitor.ip)
    if (full !== undefined) return { accept: false, status: full }
    if (this.#shedding.refuses) {
      this.#meter.count('icn_relay_overload_shed_total', { kind: 'session' })
      return { accept: false, status: 503 }
    }
    const token = sessionToken(request)
    const verdict = token === undefined ? undefined : await this.#judged(token)
    return verdict?.ok === false ? { accept: false, status: ERRORS[verdict.code].status } : { accept: true }
  }

  #welcome (transport: TransportSession): void {
    const visitor = this.#reception.visitor(transport.request)
    const { ip } = visitor
    // Between decision and session others may have come in, over either transport.
    if (this.#full(ip) !== undefined) {
      this.#meter.count('icn_relay_viewer_handshake_failures_total', { reason: 'limit' })
      transport.close(CLOSE_CODE.none, 'no more sessions are taken')
      return
    }
    const pacing = this.#bandwidth.join(visitor.viewer === undefined ? transport.id : `${ip} ${visitor.viewer}`)
    const key = addressKey(ip)
    const session = new ViewerSession(transport, {
      source: { resolve: async (key, options) => await this.#source.resolve(key, options, ip) },
      authorize: async (token, key) => await this.#judged(token, key.cid),
      observer: {
        stream: (report, subject) => {
          this.#meter.stream(transport.transport, report)
          this.#access.ended(report, transport, ip, subject)
          if (report.outcome === 'broken' || report.outcome === 'server-error') this.#log.write('debug', 'stream failed', { outcome: report.outcome, code: report.code, session: transport.id })
        },
        closed: () => { this.#farewell(transport) },
        granted: bytes => { this.#meter.count('icn_relay_bandwidth_granted_bytes_total', { transport: transport.transport }, bytes) },
        fault: error => { this.#log.write('error', 'session fault', { session: transport.id, error: text(error) }) }
      },
      now: this.#clock.monotonic,
      limits: this.#limits,
      mayRequest: now => this.#requests.take(key, now),
      newRequestId: randomUUID,
      pace: pacing,
      answering: () => ({ now: this.#clock.now(), tokenRequired: this.#judge.required }),
      version: this.#settings.version,
      region: this.#region
    })
    this.#meter.count('icn_relay_viewer_handshakes_total', { transport: transport.transport })
    const elsewhere = this.#shedding.next()
    if (elsewhere !== undefined) this.#meter.count('icn_relay_overload_shed_total', { kind: 'session' })
    this.#sessions.add({ session, pacing, since: this.#clock.now(), visitor, elsewhere, bytes: 0, rate: 0 })
  }

  #farewell (transport: TransportSession): void {
    const entry = this.#sessions.get(transport.id)
    if (entry === undefined) return
    this.#sessions.remove(entry)
    entry.pacing.leave()
    this.#throttled(entry)
  }

  /** Counts what a viewer has waited for bandwidth. */
  #throttled ({ session, pacing }: Pick<SessionEntry, 'session' | 'pacing'>): void {
    this.#meter.count('icn_relay_bandwidth_throttled_seconds_total', { transport: session.transport.transport }, Math.max(0, pacing.takeWaited()) / 1_000)
  }

  /** A defect of one session ends that session. */
  #guarded (session: ViewerSession, step: () => void): void {
    try {
      step()
    } catch (error) {
      this.#log.write('error', 'session fault', { session: session.transport.id, error: text(error) })
      session.close(CLOSE_CODE.none, 'internal error')
    }
  }

  #tick (): void {
    const idle = this.#stoppingSince !== undefined && this.#clock.monotonic() - this.#stoppingSince >= FAREWELL_MS
    for (const entry of this.#sessions) {
      const { session, pacing } = entry
      this.#guarded(session, () => {
        pacing.setClass(session.viewer.class)
        session.tick()
        this.#sendAway(entry)
      })
      if (idle && session.stats().streams === 0) session.close(CLOSE_CODE.drained, 'drained')
    }
  }

  /** After the first tick, which opens the control stream. */
  #sendAway (entry: SessionEntry): void {
    const { session, elsewhere } = entry
    if (elsewhere === undefined) return
    entry.elsewhere = undefined
    session.redirect(elsewhere[0], 'overload')
    session.drain(MOVE_DEADLINE_MS, elsewhere)
  }

  #beat (): void {
    this.#log.renew()
    const now = this.#clock.monotonic()
    const sessions = this.#sessions.measure(Math.max(0.001, (now - this.#beatAt) / 1_000), entry => { this.#throttled(entry) })
    this.#beatAt = now
    this.#handshakes.forgetIdle(now)
    this.#tickets.forgetExpired(this.#clock.now())
    this.#requests.forgetIdle(now)
    const { known, checking } = this.#judge.sizes()
    const sizes = { ...this.#source.sizes(), ...this.#listeners.sizes(), ...this.#bandwidth.sizes(), 'auth.known': known, 'auth.checking': checking, 'gateway.sessions': this.#sessions.size, 'gateway.accessRecords': this.#access.waiting, 'gateway.addresses': this.#sessions.addresses, 'gateway.tracked': this.#handshakes.size, 'gateway.spentTickets': this.#tickets.size }
    this.#send({ type: 'heartbeat', stats: { sessions, sizes, ...this.#use.take(), spent: this.#requests.report(), counts: this.#meter.take() } })
  }
}
