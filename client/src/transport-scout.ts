import type { PooledSession } from './pooled-session.ts'
import type { ClientPlatform } from './platform.ts'
import type { TransportCandidate } from './transport-memory.ts'
import { NO_TRIAL_YET, afterTry, mayTry, nextComparison, startComparison } from './transport-trial.ts'
import type { Comparison, TrialSample } from './transport-trial.ts'
import type { TransportInfo, TransportName } from './transports.ts'
import { abortable } from './waiting.ts'

export interface ScoutOptions {
  readonly platform: ClientPlatform
  readonly signal: AbortSignal
  readonly candidates: (relayUrl: string) => readonly TransportCandidate[]
  readonly dial: (relayUrl: string, transport: TransportName) => Promise<PooledSession>
  /** Requests go over this connection, for now. */
  readonly favour: (session: PooledSession) => void
  readonly dismiss: (session: PooledSession) => void
  /** This one is in use from now on. */
  readonly choose: (session: PooledSession) => void
}

/** Gives the other transports a part of the work, one after the other, beside the one in use, and changes to the first that is clearly faster. */
export class TransportScout {
  readonly #options: ScoutOptions
  #state = NO_TRIAL_YET
  #running = false
  #comparison: Comparison | undefined
  #decided: (better: boolean) => void = () => {}

  constructor (options: ScoutOptions) {
    this.#options = options
  }

  /**
   * Answers have been late since then; to be called again and again.
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
      const session = await dial(info.relayUrl, transport).catch(() => undefined)
      if (session === undefined) continue
      if (!isCurrent()) return session.leave()
      favour(session)
      const isFaster = await this.#compare(before)
      if (isCurrent() && !session.retired && isFaster) return choose(session)
      dismiss(session)
      if (!isCurrent()) return
    }
  }

  /** What came over both, while one is being tried. */
  sampled (sample: TrialSample): void {
    if (this.#comparison === undefined) return
    this.#comparison = nextComparison(this.#comparison, sample)
    const { better } = this.#comparison
    if (better !== undefined) this.#decided(better)
  }

  async #compare (before: number): Promise<boolean> {
    const { platform, signal } = this.#options
    this.#comparison = startComparison(platform.now(), before)
    try {
      return await abortable(new Promise<boolean>(resolve => { this.#decided = resolve }), signal)
    } finally {
      this.#comparison = undefined
    }
  }
}
