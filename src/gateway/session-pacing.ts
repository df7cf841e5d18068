import type { Rendition } from '../pacing/rendition-ladder.ts'
import { BandwidthAdviser, ViewerShare, type BandwidthAdvice } from '../pacing/viewer-share.ts'
import type { ViewerPace } from './session/viewer-session.ts'

/** The part of the bandwidth that all sessions of a viewer share. */
export class SharedViewer extends ViewerShare {
  /** Sessions it has now. */
  sessions = 0
  /** Of `waitedMs`, what has been counted. */
  #countedMs = 0

  /** Milliseconds waited since the last call, whichever session asks. */
  takeWaited (): number {
    const { waitedMs } = this
    const since = waitedMs - this.#countedMs
    this.#countedMs = waitedMs
    return since
  }
}

/** One session's view of its viewer's bandwidth, and what it was told of it. */
export class SessionPacing implements ViewerPace {
  readonly #viewer: SharedViewer
  readonly #left: () => void
  readonly #adviser: BandwidthAdviser
  #told = false

  constructor (viewer: SharedViewer, ladder: () => readonly Rendition[], left: () => void) {
    this.#viewer = viewer
    this.#left = left
    this.#adviser = new BandwidthAdviser(ladder)
  }

  get limited (): boolean { return this.#viewer.limited }
  shareBps (): number | undefined { return this.#viewer.shareBps() }
  take (wanted: number, signal: AbortSignal): number | Promise<number> { return this.#viewer.take(wanted, signal) }
  giveBack (bytes: number): void { this.#viewer.giveBack(bytes) }
  setClass (className: string | undefined): void { this.#viewer.setClass(className) }
  takeWaited (): number { return this.#viewer.takeWaited() }

  /** What the viewer is to be told now: its first share, and whenever another rendition fits. @param now monotonic, ms */
  news (now: number): BandwidthAdvice | undefined {
    const share = this.shareBps()
    if (share === undefined && !this.#told) return undefined
    const { changed, bitsPerSecond, rendition } = this.#adviser.advise(share, now)
    // That a limit has come or gone is news, whatever rendition was told before.
    if (!changed && share !== undefined && this.#told) return undefined
    this.#told = share !== undefined
    return { bitsPerSecond, rendition }
  }

  /** What operators see of it; nothing while nothing is limited. */
  row (): { shareBps?: number, waitedMs?: number } {
    const share = this.shareBps()
    return this.limited ? { waitedMs: Math.round(this.#viewer.waitedMs), ...share === undefined ? {} : { shareBps: Math.round(share) } } : {}
  }

  leave (): void { this.#left() }
}
