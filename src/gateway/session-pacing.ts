import { gather } from '../bandwidth/gather.ts'
import { RenditionAdvice, type Rendition } from '../throttle/rendition-ladder.ts'
import type { Allowance, ShareLimits, Throttle } from '../throttle/throttle.ts'
import type { BandwidthAdvice, ViewerPace } from './session/viewer-session.ts'

export interface SessionPacingOptions {
  readonly id: string
  readonly throttle: Pick<Throttle, 'join' | 'limited'>
  readonly ladder: readonly Rendition[]
  /** Limits of a viewer of this class as they are now. */
  readonly limits: (className: string | undefined) => ShareLimits
  readonly left: () => void
}

/** One session's part of the bandwidth, and what its viewer was told of it. */
export class SessionPacing implements ViewerPace {
  readonly #options: SessionPacingOptions
  readonly #allowance: Allowance
  readonly #advice: RenditionAdvice
  #className: string | undefined
  #told = false
  /** Of `waitedMs`, what has been counted. */
  #countedMs = 0

  constructor (options: SessionPacingOptions, className: string | undefined) {
    this.#options = options
    this.#className = className
    this.#allowance = options.throttle.join(options.id, options.limits(className))
    this.#advice = new RenditionAdvice(options.ladder)
  }

  get limited (): boolean { return this.#options.throttle.limited }
  /** Milliseconds its streams have waited for bandwidth; those that wait at once count once. */
  get waitedMs (): number { return this.#allowance.waitedMs }

  shareBps (): number | undefined { return this.limited ? this.#allowance.shareBps() : undefined }

  take (wanted: number, signal: AbortSignal): number | Promise<number> { return gather(this.#allowance, wanted, signal) }

  giveBack (bytes: number): void { this.#allowance.giveBack(bytes) }

  /** The viewer has shown a token of this class. */
  setClass (className: string | undefined): void {
    if (className === this.#className) return
    this.#className = className
    this.limitsChanged()
  }

  limitsChanged (): void {
    this.#allowance.update(this.#options.limits(this.#className))
  }

  /** What the viewer is to be told now: its first share, and whenever another rendition fits. @param now monotonic, ms */
  news (now: number): BandwidthAdvice | undefined {
    const share = this.shareBps()
    if (share === undefined && !this.#told) return undefined
    const changed = this.#advice.update(share, now) !== undefined
    // That a limit has come or gone is news, whatever rendition was told before.
    if (!changed && share !== undefined && this.#told) return undefined
    this.#told = share !== undefined
    return { bitsPerSecond: Math.round(share ?? 0), rendition: this.#advice.current?.name ?? '' }
  }

  /** What operators see of it; nothing while nothing is limited. */
  row (): { shareBps?: number, waitedMs?: number } {
    const share = this.shareBps()
    return this.limited ? { waitedMs: Math.round(this.waitedMs), ...share === undefined ? {} : { shareBps: Math.round(share) } } : {}
  }

  /** Milliseconds waited since the last call. */
  takeWaited (): number {
    const { waitedMs } = this
    const since = waitedMs - this.#countedMs
    this.#countedMs = waitedMs
    return since
  }

  leave (): void {
    this.#allowance.leave()
    this.#options.left()
  }
}
