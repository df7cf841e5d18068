import { RenditionAdvice, type Rendition } from '../throttle/rendition-ladder.ts'
import type { Allowance, ShareLimits, Throttle } from '../throttle/throttle.ts'
import { gather } from './gather.ts'
import { RateMeter } from './rate-meter.ts'

/** While bandwidth is limited, the responses of a viewer together ask for what its share carries in this time, ms. */
const PACED_READ_MS = 100
/** Smallest read then, bytes. */
const MIN_PACED_BYTES = 4 * 1024

export interface HttpViewerDeps {
  readonly throttle: Pick<Throttle, 'join' | 'limited'>
  readonly ladder: readonly Rendition[]
  /** Limits of a viewer of this class as they are now. */
  readonly limits: (className: string | undefined) => ShareLimits
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
export class HttpViewer {
  readonly id: string
  /** Responses under way. */
  responses = 0
  /** When the last one ended, monotonic ms. */
  idleSince = 0
  readonly #deps: HttpViewerDeps
  readonly #allowance: Allowance
  readonly #advice: RenditionAdvice
  readonly #rate: RateMeter
  #className: string | undefined

  /** @throws RelayError RELAY_ERR_RATE_LIMITED when too many viewers share the bandwidth already */
  constructor (id: string, className: string | undefined, deps: HttpViewerDeps) {
    this.id = id
    this.#className = className
    this.#deps = deps
    this.#allowance = deps.throttle.join(id, deps.limits(className))
    this.#advice = new RenditionAdvice(deps.ladder)
    this.#rate = new RateMeter(deps.now())
  }

  /** False: nothing is limited, and reads go without asking. */
  get limited (): boolean { return this.#deps.throttle.limited }

  /** Bits per second it has or would have when busy; undefined when nothing limits it. */
  shareBps (): number | undefined { return this.limited ? this.#allowance.shareBps() : undefined }

  /** Bytes one read of a response may ask for, at most `most`. */
  readBytes (most: number): number {
    const share = this.shareBps()
    if (share === undefined) return most
    return Math.min(most, Math.max(MIN_PACED_BYTES, Math.floor(share / 8 * PACED_READ_MS / 1_000 / Math.max(1, this.responses))))
  }

  /** `wanted` bytes once they may be read; a promise of them rejects when the signal aborts. @throws RelayError */
  take (wanted: number, signal: AbortSignal): number | Promise<number> { return gather(this.#allowance, wanted, signal) }

  giveBack (bytes: number): void { this.#allowance.giveBack(bytes) }

  /** Bytes on their way to the viewer. */
  sent (bytes: number): void { this.#rate.add(bytes, this.#deps.now()) }

  /** The share a response names, and the rendition that fits it; undefined when nothing limits the viewer. */
  advice (): { readonly bitsPerSecond: number, readonly rendition: string } | undefined {
    const share = this.shareBps()
    this.#advice.update(share, this.#deps.now())
    return share === undefined ? undefined : { bitsPerSecond: Math.round(share), rendition: this.#advice.current?.name ?? '' }
  }

  /** The viewer has shown a token of this class. */
  setClass (className: string | undefined): void {
    if (className === this.#className) return
    this.#className = className
    this.limitsChanged()
  }

  limitsChanged (): void {
    this.#allowance.update(this.#deps.limits(this.#className))
  }

  row (): HttpViewerRow {
    return { id: this.id, shareBps: this.shareBps(), rateBps: this.#rate.rate(this.#deps.now()) * 8, waitedMs: this.#allowance.waitedMs }
  }

  leave (): void { this.#allowance.leave() }
}
