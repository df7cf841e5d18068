import type { Lane } from './lane.ts'
import type { ClientPlatform } from './platform.ts'

/**
 * A session over which nothing came for so long, milliseconds, although something was asked for, may have lost its relay: a process that was killed sends no
 * word, and its successor knows nothing of the session. A miss takes less as a rule.
 */
const SILENT_MS = 1_000

export interface GatewayWatchOptions {
  readonly platform: Pick<ClientPlatform, 'now' | 'after'>
  /** Sessions in use. */
  readonly lanes: () => readonly Lane[]
  /** The gateway process of a relay now; undefined when it cannot be told. */
  readonly ask: (relayUrl: string) => Promise<string | undefined>
  /** The process that had this session is gone. */
  readonly gone: (lane: Lane) => void
}

/** Asks the relay over HTTP whether its gateway is still the one that silent sessions are with: one question a second at most, and none while answers come. */
export class GatewayWatch {
  readonly #options: GatewayWatchOptions
  #cancel: (() => void) | undefined
  #asking = false

  constructor (options: GatewayWatchOptions) {
    this.#options = options
  }

  /** Something was asked for over this session. */
  asked (lane: Lane): void {
    if (lane.gateway === undefined) return
    if (lane.inFlight <= 1) lane.heardAt = this.#options.platform.now()
    this.#arm()
  }

  heard (lane: Lane): void { lane.heardAt = this.#options.platform.now() }

  close (): void { this.#cancel?.() }

  #busy (): Lane[] {
    return this.#options.lanes().filter((lane) => lane.gateway !== undefined && lane.inFlight > 0)
  }

  #arm (): void {
    this.#cancel ??= this.#options.platform.after(SILENT_MS, () => {
      this.#cancel = undefined
      const busy = this.#busy()
      const silent = busy.filter(({ heardAt }) => this.#options.platform.now() - heardAt >= SILENT_MS)
      if (silent[0] !== undefined && !this.#asking) this.#ask(silent[0].info.relayUrl).catch(() => {}).finally(() => { this.#asking = false })
      if (busy.length > 0) this.#arm()
    })
  }

  async #ask (relayUrl: string): Promise<void> {
    this.#asking = true
    const gateway = await this.#options.ask(relayUrl)
    if (gateway === undefined) return
    for (const lane of [...this.#options.lanes()]) if (lane.info.relayUrl === relayUrl && lane.gateway !== undefined && lane.gateway !== gateway) this.#options.gone(lane)
  }
}
