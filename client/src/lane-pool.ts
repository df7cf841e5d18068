import { ShardClientError } from './client-error.ts'
import type { TransportInfo } from './transports.ts'
import type { Lane } from './lane.ts'
import { loadedSessions } from './late-parts.ts'
import type { ClientPlatform } from './platform.ts'
import { MAX_STREAMS, startCount } from './session-count.ts'
import type { Sample, SessionCount } from './session-count.ts'
import type { Piece, SharedBody } from './shared-body.ts'
import type { TrialSample } from './transport-trial.ts'
import { abortable } from './waiting.ts'

/** Samples while nothing is under way, only to give sessions back in time, milliseconds. */
const IDLE_SAMPLE_MS = 2_000
/** A session that has so many exchanges takes over nothing from others. */
const MAX_HELP = 4

export interface PoolOptions {
  readonly platform: ClientPlatform
  /** Opens one more session of the transport in use. */
  readonly open: (info: TransportInfo) => Promise<Lane>
  /** What the relay grants the viewer, bits per second. */
  readonly limitBps: () => number | undefined
  /** The first session, which speaks for all, is another one or none. */
  readonly onFirst: () => void
  /** This session is in use from now on. */
  readonly onJoin: (lane: Lane) => void
  /** Answers have been late since then; bytes per millisecond now. */
  readonly onLate: (since: number, rate: number) => void
  /** What came lately over the sessions in use, and over the one that is being tried. */
  readonly onSample: (sample: TrialSample) => void
}

/** The sessions of a client, all with one relay and over one transport: hands them out, and has as many as `nextCount` says. */
export class LanePool {
  readonly #options: PoolOptions
  /** Oldest first. */
  #lanes: Lane[] = []
  /** One of another transport that is being tried: as long as it is here it is handed out before the others. */
  #favoured: Lane | undefined
  readonly #waiting = new Set<() => void>()
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

  get first (): Lane | undefined { return this.#lanes[0] }
  get size (): number { return this.#lanes.length }
  get lanes (): readonly Lane[] { return this.#lanes }
  has (lane: Lane): boolean { return this.#lanes.includes(lane) }

  /** Makes this connection the only one; what is under way on the others ends where it began. */
  replaceAll (lane: Lane): void {
    const old = this.#lanes
    const { now } = this.#options.platform
    const isSame = old.length === 0 && this.#count.several === isSession(lane)
    this.#favoured = undefined
    this.#lanes = [lane]
    this.#generation++
    if (!isSame) this.#shortestMs = undefined
    // After a loss the count that proved right is not found out again.
    this.#count = { ...startCount(now(), isSession(lane)), ...isSame && { proven: this.#count.proven, pauseMs: this.#count.pauseMs, notBefore: this.#count.notBefore } }
    for (const each of old) if (each !== lane) each.leave()
    this.#options.onFirst()
    this.#options.onJoin(lane)
    this.#wakeAll()
    if (this.#bodies.size > 0) this.#armSample()
  }

  /** Uses this one for nothing new. @returns whether it was in use */
  remove (lane: Lane): boolean {
    lane.leave()
    if (this.#favoured === lane) this.#favoured = undefined
    const index = this.#lanes.indexOf(lane)
    if (index < 0) return false
    this.#lanes.splice(index, 1)
    if (index === 0) this.#options.onFirst()
    if (this.#lanes.length === 0) {
      this.#generation++
      this.#wakeAll()
    }
    return true
  }

  clear (): void {
    this.#cancelSample?.()
    this.#cancelSample = undefined
    this.#favoured?.leave()
    for (const lane of [...this.#lanes]) this.remove(lane)
  }

  /** Ends the connections together with what is under way on them. */
  cut (): void {
    for (const { road } of [...this.#lanes, ...this.#favoured === undefined ? [] : [this.#favoured]]) road.close()
    this.clear()
  }

  /** One session less than there should be, and a new one would not last either. */
  refused (retryAfterMs: number): void {
    this.#count = loadedSessions()?.sessionRefused(this.#count, this.#options.platform.now(), this.#lanes.length, retryAfterMs) ?? this.#count
  }

  favour (lane: Lane): void {
    this.#favoured = lane
    if (this.#cancelSample === undefined) this.#armSample()
    this.#help(lane)
  }

  /** Takes the least busy session; undefined when there is none at all. @throws the reason of the signal */
  async take (signal: AbortSignal): Promise<Lane | undefined> {
    for (;;) {
      const lane = this.#pick()
      if (lane !== undefined) {
        lane.inFlight++
        return lane
      }
      if (this.#lanes.length === 0) return undefined
      let wake = (): void => {}
      const turn = new Promise<void>((resolve) => { wake = resolve })
      this.#waiting.add(wake)
      this.#look({ spanMs: 0, busyMs: 0, bytes: 0 })
      try {
        await abortable(turn, signal)
      } catch (error) {
        // A turn that was given while the signal fired goes to the next.
        if (!this.#waiting.delete(wake)) this.#wakeOne()
        throw error
      }
    }
  }

  release (lane: Lane): void {
    lane.inFlight--
    if (lane.retired) {
      if (lane.inFlight === 0) lane.road.close()
    } else if (this.#waiting.size > 0) this.#wakeOne()
    else this.#help(lane)
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

  received (lane: Lane, bytes: number): void {
    lane.took(bytes, this.#options.platform.now())
    this.#bytes += bytes
  }

  #pick (): Lane | undefined {
    if (this.#favoured !== undefined && hasRoom(this.#favoured)) return this.#favoured
    let best: Lane | undefined
    for (const lane of this.#lanes) if (hasRoom(lane) && (best === undefined || lane.inFlight < best.inFlight)) best = lane
    return best
  }

  /** A session with little to do takes over what the others are slow with. */
  #help (lane: Lane): void {
    const { chooseDivision } = loadedSessions() ?? {}
    if (chooseDivision === undefined) return
    while (!lane.retired && !lane.wholeOnly && lane.inFlight < MAX_HELP) {
      const pieces = new Map<Piece, SharedBody>()
      for (const body of this.#bodies) for (const piece of body.pieces) pieces.set(piece, body)
      const division = chooseDivision(pieces.keys(), lane)
      if (division === undefined) return
      lane.inFlight++
      pieces.get(division.part)?.divide(division.part, division.at, lane)
    }
  }

  #helpAll (): void {
    for (const lane of [...this.#favoured === undefined ? [] : [this.#favoured], ...this.#lanes]) this.#help(lane)
  }

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
      if (this.#bodies.size > 0 || this.#lanes.length > 1 || this.#favoured !== undefined) this.#armSample()
    })
  }

  #sample (): void {
    const now = this.#options.platform.now()
    const spanMs = now - this.#sampledAt
    this.#settleBusy(this.#bodies.size > 0 ? now : undefined)
    const flows = this.#lanes.map((lane) => lane.sample(now, spanMs))
    const own = { bytes: flows.reduce((sum, { bytes }) => sum + bytes, 0), isBusy: flows.some(({ isBusy }) => isBusy) }
    const other = this.#favoured?.sample(now, spanMs)
    // Those that are no longer handed out still carry what they began.
    const carrying = new Set([...this.#bodies].flatMap((body) => [...body.pieces].map(({ lane }) => lane)))
    for (const lane of carrying) if (lane !== this.#favoured && !this.#lanes.includes(lane)) lane.sample(now, spanMs)
    this.#look({ spanMs, busyMs: this.#busyMs, bytes: this.#bytes })
    const { lateSince } = this.#count
    if (lateSince !== undefined && this.#favoured === undefined) this.#options.onLate(lateSince, this.#busyMs > 0 ? this.#bytes / this.#busyMs : 0)
    this.#helpAll()
    const headroom = loadedSessions()?.headroom(this.#count, now, this.#lanes.length) ?? 1
    this.#options.onSample({ now, spanMs, own, other, headroom, tripMs: this.#favoured?.latencyMs ?? 0 })
  }

  /** Shortest time of a request so far, milliseconds. */
  #tripMs (): number | undefined {
    for (const { latencyMs } of this.#lanes) if (latencyMs !== undefined) this.#shortestMs = Math.min(this.#shortestMs ?? latencyMs, latencyMs)
    return this.#shortestMs
  }

  /** Of the hits that were answered since the last call, the middle one. Over TCP an answer also waits for what was lost of others, which tells of no queue. */
  #waitMs (): number | undefined {
    if (this.#lanes[0]?.info.transport !== 'webtransport') return undefined
    const waits = this.#lanes.flatMap((lane) => lane.takeWaits()).sort((a, b) => a - b)
    return waits[Math.floor(waits.length / 2)]
  }

  #look (measured: Pick<Sample, 'spanMs' | 'busyMs' | 'bytes'>): void {
    const { nextCount } = loadedSessions() ?? {}
    // Without sessions there is nothing to count.
    if (nextCount === undefined) return
    const { platform, limitBps } = this.#options
    let outstandingBytes = 0
    for (const { outstanding } of this.#bodies) outstandingBytes += outstanding
    const streams = this.#lanes.reduce((sum, { inFlight }) => sum + inFlight, this.#waiting.size)
    this.#count = nextCount(this.#count, { ...measured, now: platform.now(), outstandingBytes, streams, open: this.#lanes.length, working: this.#lanes.filter(({ inFlight }) => inFlight > 0).length, limitBps: limitBps(), tripMs: this.#tripMs(), waitMs: this.#waitMs() })
    this.#adjust()
  }

  #adjust (): void {
    const [first] = this.#lanes
    if (first === undefined) return
    while (this.#lanes.length + this.#opening < this.#count.target) {
      this.#opening++
      this.#grow(first.info, this.#generation).catch(() => {}).finally(() => { this.#opening-- })
    }
    // The youngest are given back, idle ones first; the first speaks for all and stays.
    while (this.#lanes.length > this.#count.target) {
      const last = this.#lanes.slice(1).findLast(({ inFlight }) => inFlight === 0) ?? this.#lanes.at(-1)
      if (last === undefined) return
      this.remove(last)
    }
  }

  async #grow (info: TransportInfo, generation: number): Promise<void> {
    let lane: Lane
    try {
      lane = await this.#options.open(info)
    } catch (error) {
      if (generation === this.#generation) this.refused(error instanceof ShardClientError ? error.retryAfterMs ?? 0 : 0)
      return
    }
    if (generation !== this.#generation || this.#lanes.length >= this.#count.target) return lane.leave()
    this.#lanes.push(lane)
    this.#options.onJoin(lane)
    if (this.#cancelSample === undefined) this.#armSample()
    this.#wakeAll()
    this.#help(lane)
  }

  #wakeOne (): void {
    const [wake] = this.#waiting
    if (wake === undefined) return
    this.#waiting.delete(wake)
    wake()
  }

  #wakeAll (): void {
    for (const wake of [...this.#waiting]) {
      this.#waiting.delete(wake)
      wake()
    }
  }
}

function isSession ({ info }: Lane): boolean {
  return info.transport !== 'http'
}

function hasRoom (lane: Lane): boolean {
  return !lane.retired && (!isSession(lane) || lane.inFlight < MAX_STREAMS)
}
