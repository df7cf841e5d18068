import { gather } from './gather.ts'
import { RenditionAdvice, type Rendition } from './rendition-ladder.ts'
import type { ReadAllowance, ShareLimits, Throttle } from './throttle.ts'

export interface ViewerShareDeps {
  readonly throttle: Pick<Throttle, 'join' | 'limited'>
  /** Limits of a viewer of this class as they are now. */
  readonly limits: (className: string | undefined) => ShareLimits
}

/** What a viewer is told of its bandwidth. */
export interface BandwidthAdvice {
  /** 0 when nothing limits it any more. */
  readonly bitsPerSecond: number
  readonly rendition: string
}

/** What whoever serves a viewer tells it of its bandwidth. */
export class BandwidthAdviser {
  readonly #ladder: () => readonly Rendition[]
  #known: readonly Rendition[]
  #renditions: RenditionAdvice

  /** @param ladder as it is now; another one begins without what was suggested before */
  constructor (ladder: () => readonly Rendition[]) {
    this.#ladder = ladder
    this.#known = ladder()
    this.#renditions = new RenditionAdvice(this.#known)
  }

  /** What fits this share, and whether that is another rendition than before. @param now monotonic, ms */
  advise (share: number | undefined, now: number): BandwidthAdvice & { readonly changed: boolean } {
    const ladder = this.#ladder()
    if (ladder !== this.#known) this.#renditions = new RenditionAdvice(ladder)
    this.#known = ladder
    const changed = this.#renditions.update(share, now) !== undefined
    return { bitsPerSecond: Math.round(share ?? 0), rendition: this.#renditions.current?.name ?? '', changed }
  }
}

/** One viewer's part of the bandwidth, whatever the transport. */
export class ViewerShare {
  readonly #deps: ViewerShareDeps
  readonly #allowance: ReadAllowance
  #className: string | undefined

  /** @throws RelayError RELAY_ERR_RATE_LIMITED when too many viewers share the bandwidth already */
  constructor (id: string, className: string | undefined, deps: ViewerShareDeps) {
    this.#className = className
    this.#deps = deps
    this.#allowance = deps.throttle.join(id, deps.limits(className))
  }

  /** False: nothing is limited, and reads go without asking. */
  get limited (): boolean { return this.#deps.throttle.limited }

  /** Milliseconds its reads have waited for bandwidth; those that wait at the same time count once. */
  get waitedMs (): number { return this.#allowance.waitedMs }

  /** Bits per second it has or would have when busy; undefined when nothing limits it. */
  shareBps (): number | undefined { return this.limited ? this.#allowance.shareBps() : undefined }

  /** `wanted` bytes once they may be read; a promise of them rejects when the signal aborts. @throws RelayError */
  take (wanted: number, signal: AbortSignal): number | Promise<number> { return gather(this.#allowance, wanted, signal) }

  giveBack (bytes: number): void { this.#allowance.giveBack(bytes) }

  /** The viewer has shown a token of this class. */
  setClass (className: string | undefined): void {
    if (className === this.#className) return
    this.#className = className
    this.limitsChanged()
  }

  limitsChanged (): void {
    this.#allowance.update(this.#deps.limits(this.#className))
  }

  leave (): void { this.#allowance.leave() }
}
