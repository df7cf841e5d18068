import type { PooledSession } from './pooled-session.ts'
import type { ClientPlatform } from './platform.ts'

/**
 * A session over which nothing came for so long, milliseconds, although something was asked for, may have lost its relay: a process that was killed sends no
 * word, and its successor knows nothing of the session. A miss takes less as a rule.
 */
const SILENT_MS = 1_000

export interface GatewayWatchOptions {
  readonly platform: Pick<ClientPlatform, 'now' | 'after'>
  /** Sessions in use. */
  readonly sessions: () => readonly PooledSession[]
  /** The gateway process of a relay now; undefined when it cannot be told. */
  readonly ask: (relayUrl: string) => Promise<string | undefined>
  /** The process that had this session is gone. */
  readonly gone: (session: PooledSession) => void
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
  asked (session: PooledSession): void {
    if (session.gateway === undefined) return
    if (session.inFlight <= 1) session.heardAt = this.#options.platform.now()
    this.#arm()
  }

  close (): void { this.#cancel?.() }

  #busy (): PooledSession[] {
    return this.#options.sessions().filter(session => session.gateway !== undefined && session.inFlight > 0)
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
    for (const session of [...this.#options.sessions()]) if (session.info.relayUrl === relayUrl && session.gateway !== undefined && session.gateway !== gateway) this.#options.gone(session)
  }
}
