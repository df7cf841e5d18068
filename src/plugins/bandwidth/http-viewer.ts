import { pacedReadBytes } from '../../pacing/paced-read.ts'
import type { Rendition } from '../../pacing/rendition-ladder.ts'
import { BandwidthAdviser, ViewerShare, type BandwidthAdvice, type ViewerShareDeps } from '../../pacing/viewer-share.ts'
import { RateMeter } from './rate-meter.ts'

export interface HttpViewerDeps extends ViewerShareDeps {
  /** As it is now. */
  readonly ladder: () => readonly Rendition[]
  /** Monotonic, ms. */
  readonly now: () => number
}

/** What an operator sees of a viewer over HTTP. */
export interface HttpViewerRow {
  readonly id: string
  /** Bits per second; undefined when nothing limits it. */
  readonly shareBps: number | undefined
  /** Bits per second of late. */
  readonly rateBps: number
  readonly waitedMs: number
}

/** All responses to one viewer over HTTP share this part of the bandwidth. */
export class HttpViewer extends ViewerShare {
  readonly id: string
  /** Responses under way. */
  responses = 0
  /** When the last one ended, monotonic ms. */
  idleSince = 0
  readonly #now: () => number
  readonly #rate: RateMeter
  readonly #adviser: BandwidthAdviser

  /** @throws RelayError RELAY_ERR_RATE_LIMITED when too many viewers share the bandwidth already */
  constructor (id: string, className: string | undefined, deps: HttpViewerDeps) {
    super(id, className, deps)
    this.id = id
    this.#now = deps.now
    this.#rate = new RateMeter(deps.now())
    this.#adviser = new BandwidthAdviser(deps.ladder)
  }

  /** Bytes one read of a response may ask for, at most `most`. */
  readBytes (most: number): number {
    const share = this.shareBps()
    if (share === undefined) return most
    return Math.min(most, pacedReadBytes(share, this.responses))
  }

  /** Bytes on their way to the viewer. */
  sent (bytes: number): void { this.#rate.add(bytes, this.#now()) }

  /** The share a response names, and the rendition that fits it; undefined when nothing limits the viewer. */
  advice (): BandwidthAdvice | undefined {
    const share = this.shareBps()
    const { bitsPerSecond, rendition } = this.#adviser.advise(share, this.#now())
    return share === undefined ? undefined : { bitsPerSecond, rendition }
  }

  row (): HttpViewerRow {
    return { id: this.id, shareBps: this.shareBps(), rateBps: this.#rate.rate(this.#now()) * 8, waitedMs: this.waitedMs }
  }
}
