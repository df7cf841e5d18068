import type { TransportInfo, TransportName } from './dial.ts'
import type { Lane } from './lane.ts'
import type { ClientPlatform } from './platform.ts'
import type { Candidate } from './transport-memory.ts'
import { MEASURE_MS, NO_TRIAL_YET, SETTLE_MS, afterTry, isBetter, mayTry } from './transport-trial.ts'
import { delay } from './waiting.ts'

export interface ScoutOptions {
  readonly platform: ClientPlatform
  readonly signal: AbortSignal
  readonly candidates: (relayUrl: string) => readonly Candidate[]
  readonly dial: (relayUrl: string, transport: TransportName) => Promise<Lane>
  /** Requests go over this connection, for now. */
  readonly favour: (lane: Lane) => void
  readonly dismiss: (lane: Lane) => void
  /** This one is in use from now on. */
  readonly choose: (lane: Lane) => void
}

/** Gives the other transports a few seconds of the work, one after the other, and changes to the first that is clearly faster. */
export class TransportScout {
  readonly #options: ScoutOptions
  #state = NO_TRIAL_YET
  #running = false

  constructor (options: ScoutOptions) {
    this.#options = options
  }

  /**
   * Answers have been late since then, whatever was done; to be called again and again.
   * @param rate of the transport in use, bytes per millisecond
   * @param isCurrent whether that is still in use
   */
  late (info: TransportInfo, since: number, rate: number, isCurrent: () => boolean): void {
    const now = this.#options.platform.now()
    if (this.#running || !mayTry(this.#state, since, now)) return
    this.#state = afterTry(this.#state, now)
    this.#running = true
    this.#run(info, rate, isCurrent).catch(() => {}).finally(() => { this.#running = false })
  }

  async #run (info: TransportInfo, before: number, isCurrent: () => boolean): Promise<void> {
    const { candidates, choose, dial, dismiss, favour } = this.#options
    for (const { transport, demoted } of candidates(info.relayUrl)) {
      if (transport === info.transport || demoted !== undefined) continue
      const lane = await dial(info.relayUrl, transport).catch(() => undefined)
      if (lane === undefined) continue
      if (!isCurrent()) return lane.leave()
      favour(lane)
      const rate = await this.#measure(lane).catch(() => 0)
      if (isCurrent() && !lane.retired && isBetter(rate, before)) return choose(lane)
      dismiss(lane)
      if (!isCurrent()) return
    }
  }

  async #measure (lane: Lane): Promise<number> {
    const { platform, signal } = this.#options
    await delay(SETTLE_MS, signal, platform.after)
    const from = lane.received
    await delay(MEASURE_MS, signal, platform.after)
    return (lane.received - from) / MEASURE_MS
  }
}
