import { ViewerShare, type BandwidthAdvice, type ViewerShareDeps } from '../bandwidth/viewer-share.ts'
import type { ViewerPace } from './session/viewer-session.ts'

export interface SessionPacingOptions extends ViewerShareDeps {
  readonly id: string
  readonly left: () => void
}

/** One session's part of the bandwidth, and what its viewer was told of it. */
export class SessionPacing extends ViewerShare implements ViewerPace {
  readonly #left: () => void
  #told = false
  /** Of `waitedMs`, what has been counted. */
  #countedMs = 0

  constructor (options: SessionPacingOptions, className: string | undefined) {
    super(options.id, className, options)
    this.#left = options.left
  }

  /** What the viewer is to be told now: its first share, and whenever another rendition fits. @param now monotonic, ms */
  news (now: number): BandwidthAdvice | undefined {
    const share = this.shareBps()
    if (share === undefined && !this.#told) return undefined
    const { changed, bitsPerSecond, rendition } = this.advise(share, now)
    // That a limit has come or gone is news, whatever rendition was told before.
    if (!changed && share !== undefined && this.#told) return undefined
    this.#told = share !== undefined
    return { bitsPerSecond, rendition }
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

  override leave (): void {
    super.leave()
    this.#left()
  }
}
