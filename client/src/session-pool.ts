import { ShardClientError } from './client-error.ts'
import type { TransportInfo } from './transports.ts'
import type { PooledSession } from './pooled-session.ts'
import { loadedSessions } from './late-parts.ts'
import type { ClientPlatform } from './platform.ts'
import { MAX_STREAMS, startCount } from './session-count.ts'
import type { Sample, SessionCount } from './session-count.ts'
import type { Piece, SharedBody } from './shared-body.ts'
import type { TrialSample } from './transport-trial.ts'
import { WaitingLine } from './waiting.ts'

/** Samples while nothing is under way, only to give sessions back in time, milliseconds. */
const IDLE_SAMPLE_MS = 2_000
/** A session that has so many exchanges takes over nothing from others. */
const MAX_HELP = 4

export interface PoolOptions {
  readonly platform: ClientPlatform
  /** Opens one more session of the transport in use. */
  readonly open: (info: TransportInfo) => Promise<PooledSession>
  /** What the relay grants the viewer, bits per second. */
  readonly limitBps: () => number | undefined
  /** The first session, which speaks for all, is another one or none. */
  readonly onFirst: () => void
  /** This session is in use from now on. */
  readonly onJoin: (session: PooledSession) => void
  /** Answers have been late since then; bytes per millisecond now. */
  readonly onLate: (since: number, rate: number) => void
  /** What came lately over the sessions in use, and over the one that is being tried. */
  readonly onSample: (sample: TrialSample) => void
}

/** The sessions of a client, all with one relay and over one transport: hands them out, and has as many as `nextCount` says. */
export class SessionPool {
  readonly #options: PoolOptions
  /** Oldest first. */
  #sessions: PooledSession[] = []
  /** One of another transport that is being tried: as long as it is here it is handed out before the others. */
  #favoured: PooledSession | undefined
  readonly #waiting = new WaitingLine()
  readonly #bodies = new Set<SharedBody>()
  #count: SessionCount
  #opening = 0
  #cancelSample: (() => void) | undefined
  #sampledAt = 0
  #busySince: number | undefined
  #busyMs = 0
  #bytes = 0
  /** Shortest time to an answer over this transport of this relay, milliseconds. */
  #shortestMs: number | undefined
  /** Numbers the sets of sessions, so that one that was asked for a set of the past is not taken into the present one. */
  #generation = 0

  constructor (options: PoolOptions) {
    this.#options = options
    this.#count = startCount(options.platform.now(), false)
  }

  get first (): PooledSession | undefined { return this.#sessions[0] }
  get size (): number { return this.#sessions.length }
  get sessions (): readonly PooledSession[] { return this.#sessions }
  has (session: PooledSession): boolean { return this.#sessions.includes(session) }

  /** Makes this connection the only one; what is under way on the others ends where it began. */
  replaceAll (session: PooledSession): void {
    const old = this.#sessions
    const { now } = this.#options.platform
    const isSame = old.length === 0 && this.#count.several === hasStreams(session)
    this.#favoured = undefined
    this.#sessions = [session]
    this.#generation++
    if (!isSame) this.#shortestMs = undefined
    // After a loss the count that proved right is not found out again.
    this.#count = { ...startCount(now(), hasStreams(session)), ...isSame && { proven: this.#count.proven, pauseMs: this.#count.pauseMs, notBefore: this.#count.notBefore } }
    for (const each of old) if (each !== session) each.leave()
    this.#options.onFirst()
    this.#options.onJoin(session)
    this.#wakeAll()
    if (this.#bodies.size > 0) this.#armSample()
  }

  /** Uses this one for nothing new. @returns whether it was in use */
  remove (session: PooledSession): boolean {
    session.leave()
    if (this.#favoured === session) this.#favoured = undefined
    const index = this.#sessions.indexOf(session)
    if (index < 0) return false
    this.#sessions.splice(index, 1)
    if (index === 0) this.#options.onFirst()
    if (this.#sessions.length === 0) {
      this.#generation++
      this.#wakeAll()
    }
    return true
  }

  /** Ends the connections together with what is under way on them. */
  cut (): void {
    const all = this.#handedOut
    for (const { connection } of all) connection.close()
    this.#cancelSample?.()
    this.#cancelSample = undefined
    for (const session of all) this.remove(session)
  }

  /** One session less than there should be, and a new one would not last either. */
  refused (retryAfterMs: number): void {
    this.#count = loadedSessions()?.sessionRefused(this.#count, this.#options.platform.now(), this.#sessions.length, retryAfterMs) ?? this.#count
  }

  favour (session: PooledSession): void {
    this.#favoured = session
    if (this.#cancelSample === undefined) this.#armSample()
    this.#help(session)
  }

  /** Takes the least busy session; undefined when there is none at all. @throws the reason of the signal */
  async take (signal: AbortSignal): Promise<PooledSession | undefined> {
    for (;;) {
      const session = this.#pick()
      if (session !== undefined) {
        session.inFlight++
        return session
      }
      if (this.#sessions.length === 0) return undefined
      const turn = this.#waiting.wait(signal, () => this.#waiting.next())
      this.#look({ spanMs: 0, busyMs: 0, bytes: 0 })
      await turn
    }
  }

  release (session: PooledSession): void {
    session.inFlight--
    if (session.retired) {
      if (session.inFlight === 0) session.connection.close()
    } else if (!this.#waiting.next()) this.#help(session)
  }

  join (body: SharedBody): void {
    this.#bodies.add(body)
    this.#busySince ??= this.#options.platform.now()
    if (this.#cancelSample === undefined) this.#armSample()
  }

  leave (body: SharedBody): void {
    this.#bodies.delete(body)
    if (this.#bodies.size === 0) this.#settleBusy(undefined)
  }

  received (session: PooledSession, bytes: number): void {
    session.took(bytes, this.#options.platform.now())
    this.#bytes += bytes
  }

  #pick (): PooledSession | undefined {
    if (this.#favoured !== undefined && hasRoom(this.#favoured)) return this.#favoured
    let best: PooledSession | undefined
    for (const session of this.#sessions) if (hasRoom(session) && (best === undefined || session.inFlight < best.inFlight)) best = session
    return best
  }

  /** A session with little to do takes over what the others are slow with. */
  #help (session: PooledSession): void {
    const { chooseDivision } = loadedSessions() ?? {}
    if (chooseDivision === undefined) return
    while (!session.retired && !session.wholeOnly && session.inFlight < MAX_HELP) {
      const pieces = new Map<Piece, SharedBody>()
      for (const body of this.#bodies) for (const piece of body.pieces) pieces.set(piece, body)
      const division = chooseDivision(pieces.keys(), session)
      if (division === undefined) return
      session.inFlight++
      pieces.get(division.part)?.divide(division.part, division.at, session)
    }
  }

  /** The favoured one before the others. */
  get #handedOut (): PooledSession[] { return this.#favoured === undefined ? [...this.#sessions] : [this.#favoured, ...this.#sessions] }

  #settleBusy (since: number | undefined): void {
    const now = this.#options.platform.now()
    if (this.#busySince !== undefined) this.#busyMs += now - this.#busySince
    this.#busySince = since
  }

  #armSample (): void {
    const { platform } = this.#options
    this.#cancelSample?.()
    this.#sampledAt = platform.now()
    this.#busyMs = 0
    this.#bytes = 0
    if (this.#busySince !== undefined) this.#busySince = this.#sampledAt
    const { sampleMs } = loadedSessions() ?? {}
    this.#cancelSample = platform.after(this.#bodies.size > 0 && sampleMs !== undefined ? sampleMs(this.#tripMs()) : IDLE_SAMPLE_MS, () => {
      this.#cancelSample = undefined
      this.#sample()
      if (this.#bodies.size > 0 || this.#sessions.length > 1 || this.#favoured !== undefined) this.#armSample()
    })
  }

  #sample (): void {
    const now = this.#options.platform.now()
    const spanMs = now - this.#sampledAt
    this.#settleBusy(this.#bodies.size > 0 ? now : undefined)
    const flows = this.#sessions.map(session => session.sample(now, spanMs))
    const own = { bytes: flows.reduce((sum, { bytes }) => sum + bytes, 0), isBusy: flows.some(({ isBusy }) => isBusy) }
    const other = this.#favoured?.sample(now, spanMs)
    // Those that are no longer handed out still carry what they began.
    const carrying = new Set([...this.#bodies].flatMap(body => [...body.pieces].map(({ session }) => session)))
    for (const session of carrying) if (session !== this.#favoured && !this.#sessions.includes(session)) session.sample(now, spanMs)
    this.#look({ spanMs, busyMs: this.#busyMs, bytes: this.#bytes })
    const { lateSince } = this.#count
    if (lateSince !== undefined && this.#favoured === undefined) this.#options.onLate(lateSince, this.#busyMs > 0 ? this.#bytes / this.#busyMs : 0)
    for (const session of this.#handedOut) this.#help(session)
    const headroom = loadedSessions()?.headroom(this.#count, now, this.#sessions.length) ?? 1
    this.#options.onSample({ now, spanMs, own, other, headroom, tripMs: this.#favoured?.latencyMs ?? 0 })
  }

  /** Shortest time of a request so far, milliseconds. */
  #tripMs (): number | undefined {
    for (const { latencyMs } of this.#sessions) if (latencyMs !== undefined) this.#shortestMs = Math.min(this.#shortestMs ?? latencyMs, latencyMs)
    return this.#shortestMs
  }

  /** Of the hits that were answered since the last call, the middle one. Over TCP an answer also waits for what was lost of others, which tells of no queue. */
  #waitMs (): number | undefined {
    if (this.#sessions[0]?.info.transport !== 'webtransport') return undefined
    const waits = this.#sessions.flatMap(session => session.takeWaits()).sort((a, b) => a - b)
    return waits[Math.floor(waits.length / 2)]
  }

  #look (measured: Pick<Sample, 'spanMs' | 'busyMs' | 'bytes'>): void {
    const { nextCount } = loadedSessions() ?? {}
    // Without sessions there is nothing to count.
    if (nextCount === undefined) return
    const { platform, limitBps } = this.#options
    let outstandingBytes = 0
    for (const { outstanding } of this.#bodies) outstandingBytes += outstanding
    const streams = this.#sessions.reduce((sum, { inFlight }) => sum + inFlight, this.#waiting.size)
    this.#count = nextCount(this.#count, { ...measured, now: platform.now(), outstandingBytes, streams, open: this.#sessions.length, working: this.#sessions.filter(({ inFlight }) => inFlight > 0).length, limitBps: limitBps(), tripMs: this.#tripMs(), waitMs: this.#waitMs() })
    this.#adjust()
  }

  #adjust (): void {
    const [first] = this.#sessions
    if (first === undefined) return
    while (this.#sessions.length + this.#opening < this.#count.target) {
      this.#opening++
      this.#grow(first.info, this.#generation).catch(() => {}).finally(() => { this.#opening-- })
    }
    // The youngest are given back, idle ones first; the first speaks for all and stays.
    while (this.#sessions.length > this.#count.target) {
      const last = this.#sessions.slice(1).findLast(({ inFlight }) => inFlight === 0) ?? this.#sessions.at(-1)
      if (last === undefined) return
      this.remove(last)
    }
  }

  async #grow (info: TransportInfo, generation: number): Promise<void> {
    let session: PooledSession
    try {
      session = await this.#options.open(info)
    } catch (error) {
      if (generation === this.#generation) this.refused(error instanceof ShardClientError ? error.retryAfterMs ?? 0 : 0)
      return
    }
    if (generation !== this.#generation || this.#sessions.length >= this.#count.target) return session.leave()
    this.#sessions.push(session)
    this.#options.onJoin(session)
    if (this.#cancelSample === undefined) this.#armSample()
    this.#wakeAll()
    this.#help(session)
  }

  #wakeAll (): void {
    while (this.#waiting.next());
  }
}

function hasStreams ({ info }: PooledSession): boolean {
  return info.transport !== 'http'
}

function hasRoom (session: PooledSession): boolean {
  return !session.retired && (!hasStreams(session) || session.inFlight < MAX_STREAMS)
}
