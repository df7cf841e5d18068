import { isDeepStrictEqual } from 'node:util'
import type { AuthSettings } from '../auth/auth-settings.ts'
import type { GatewayShare } from '../bandwidth/bandwidth-limits.ts'
import type { Clock } from '../clock.ts'
import type { OverloadState } from '../overload/states.ts'
import type { GatewayLimits } from './protocol.ts'
import type { TlsMaterial } from './transports/viewer-transport.ts'

/** What may change while a gateway runs, for sessions that exist too. A gateway gets all of it at its start, and then what changes. */
export interface LiveSettings {
  readonly tls: TlsMaterial
  readonly limits: GatewayLimits
  /** What viewers are judged by. */
  readonly auth: AuthSettings
  /** Told to new sessions. */
  readonly region: string
  /** The gateway's part of the bandwidth. */
  readonly share: GatewayShare
  /** While shedding, new sessions are sent to the targets in turn, base URLs of relays or super-nodes; without any they are refused. */
  readonly overload: { readonly state: OverloadState, readonly targets: readonly string[] }
  /** No new sessions, and those that exist are asked to move within the time, ms from now; undefined takes sessions again. */
  readonly drain: { readonly deadlineMs: number, readonly alternates: readonly string[] } | undefined
}

/** The relay's record of the live settings, which outlives every gateway. */
export class LiveRecord {
  readonly #clock: Pick<Clock, 'monotonic'>
  #settings: LiveSettings
  /** When a drain ends, monotonic ms. */
  #drainedAt = 0
  #told: (changed: Partial<LiveSettings>) => void = () => {}

  constructor (settings: LiveSettings, clock: Pick<Clock, 'monotonic'>) {
    this.#settings = settings
    this.#clock = clock
  }

  /** As a gateway that starts now has to know them: of a drain what is left. */
  get current (): LiveSettings {
    const { drain } = this.#settings
    return drain === undefined ? this.#settings : { ...this.#settings, drain: { ...drain, deadlineMs: Math.max(0, this.#drainedAt - this.#clock.monotonic()) } }
  }

  /** Whether no sessions are taken because an operator wants it so. */
  get draining (): boolean { return this.#settings.drain !== undefined }

  /** Takes over what is new, and tells a running gateway of that. A drain begins anew whenever it is asked for. */
  update (wanted: Partial<LiveSettings>): void {
    const changed = Object.fromEntries(Object.entries(wanted).filter(([key, value]) => {
      return key === 'drain' ? value !== undefined || this.#settings.drain !== undefined : !isDeepStrictEqual(value, this.#settings[key as keyof LiveSettings])
    })) as Partial<LiveSettings>
    if (Object.keys(changed).length === 0) return
    this.#settings = { ...this.#settings, ...changed }
    if (changed.drain !== undefined) this.#drainedAt = this.#clock.monotonic() + changed.drain.deadlineMs
    this.#told(changed)
  }

  /** Has one listener, told of what changed. */
  onUpdate (told: (changed: Partial<LiveSettings>) => void): void { this.#told = told }
}
