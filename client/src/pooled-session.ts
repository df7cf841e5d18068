import type { ControlMessage, FillingObject } from '../../src/protocol/control-messages.ts'
import type { BandwidthSignal } from './bandwidth-signal.ts'
import type { TransportInfo } from './transports.ts'
import type { RelayConnection } from './relay-connection.ts'
import type { Flow } from './transport-trial.ts'

/** Of the latest sample in the rate: those of a long path alternate between a burst and nothing. */
const WEIGHT = 0.4
/** Answers of one sample whose time is kept. */
const MAX_WAITS = 64

/** One connection and the exchanges that use it. */
export class PooledSession {
  readonly connection: RelayConnection
  readonly info: TransportInfo
  /** Monotonic milliseconds. */
  readonly since: number
  inFlight = 0
  /** No longer handed out; closed when its last exchange is over. */
  retired = false
  /** The relay's process that has the session, where it tells. */
  readonly gateway: string | undefined
  /** When something last came over it, or was asked for while nothing was, monotonic milliseconds. */
  heardAt: number
  /** Bytes of bodies that came over it. */
  received = 0
  /** Bytes of bodies per millisecond while there were some to come, smoothed; undefined until that is known. */
  rate: number | undefined
  /** Ranges asked for over it do not come as such: it carries whole objects only. */
  wholeOnly = false
  /** Shortest time from a request to its answer, milliseconds. */
  latencyMs: number | undefined
  /** Since when bodies have come over it without a pause between two, monotonic milliseconds. */
  #comingSince: number | undefined
  #sampled = 0
  readonly #waits: number[] = []
  /** What the relay said over it last. */
  bandwidth: BandwidthSignal | undefined
  /** Called with the paths of what the relay is still fetching. */
  readonly onFilling = new Set<(paths: ReadonlySet<string>) => void>()
  /** What it said before it was in use. */
  readonly early: ControlMessage[] = []

  constructor (connection: RelayConnection, info: TransportInfo, now: number, gateway?: string) {
    this.connection = connection
    this.info = info
    this.since = now
    this.heardAt = now
    this.gateway = gateway
  }

  /** The relay is still fetching these. */
  filling (objects: readonly FillingObject[]): void {
    const paths = new Set(objects.map(({ path }) => path))
    for (const heard of [...this.onFilling]) heard(paths)
  }

  /** An answer began so many milliseconds after its request. @param hit the relay had the object */
  answered (ms: number, hit = false): void {
    this.latencyMs = Math.min(this.latencyMs ?? ms, ms)
    if (hit && this.#waits.length < MAX_WAITS) this.#waits.push(ms)
  }

  /** Times to the answers of hits since the last call, milliseconds, the first ones. */
  takeWaits (): number[] { return this.#waits.splice(0) }

  /** Bytes of a body. */
  took (bytes: number, now: number): void {
    this.received += bytes
    this.#comingSince ??= now
  }

  /** Takes what came within the last `spanMs` into its rate, if bodies came all that time. */
  sample (now: number, spanMs: number): Flow {
    const bytes = this.received - this.#sampled
    this.#sampled = this.received
    if (this.inFlight === 0) this.#comingSince = undefined
    if (this.#comingSince === undefined || spanMs <= 0 || now - this.#comingSince < spanMs) return { bytes, isBusy: false }
    const rate = bytes / spanMs
    this.rate = this.rate === undefined ? rate : this.rate + (rate - this.rate) * WEIGHT
    return { bytes, isBusy: true }
  }

  /** Takes it out of use; what is under way on it goes on. */
  leave (): void {
    this.retired = true
    if (this.inFlight === 0) this.connection.close()
  }
}
