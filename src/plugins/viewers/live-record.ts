import { isDeepStrictEqual } from 'node:util'
import type { Clock } from '../../base/clock.ts'
import type { LiveSettings } from '../../channel/live-settings.ts'

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
