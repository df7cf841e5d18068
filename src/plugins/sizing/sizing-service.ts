import type { EvictionPolicy } from '../../storage/orders/orders.ts'
import { byteHitRatioAt, capacitiesAround, coversWell } from './curve.ts'
import { Miniatures, type CurvePoint } from './miniature.ts'
import { Steps, type SizingFacts, type SizeStep, type StepsOptions } from './steps.ts'

/** Requests that an estimate must stand for before the cache is sized by it. */
export const LEAST_REQUESTS = 10_000
/** Time in which what was counted comes to count for half, ms: a day has its hours. */
const HALF_LIFE_MS = 86_400_000

/** A change of the bound that was made. */
export interface Resize {
  /** Milliseconds since the Unix epoch. */
  readonly at: number
  readonly from: number
  readonly to: number
  readonly reason: SizeStep['reason']
}

export interface SizingOptions {
  readonly policy: EvictionPolicy
  /** Undefined estimates only. */
  readonly steps: StepsOptions | undefined
  /** The cache now. */
  readonly cache: () => Omit<SizingFacts, 'byteHitRatioAt'>
  readonly resize: (bytes: number) => void
  /** Whether the bound may be moved now: not while the cache is compared with its directory, nor in an overload. */
  readonly mayResize: () => boolean
  readonly random: () => number
  readonly now: () => number
  readonly resized: (resize: Resize) => void
}

/** Estimates what other capacities would bring, and moves the bound of the cache by it if it is to. */
export class SizingService {
  readonly #options: SizingOptions
  readonly #steps: Steps | undefined
  #middle: number
  #miniatures: Miniatures
  #agedAt: number
  #hits = 0
  #last: Resize | undefined

  constructor (options: SizingOptions) {
    this.#options = options
    this.#steps = options.steps === undefined ? undefined : new Steps(options.steps)
    this.#middle = options.cache().bytes
    this.#miniatures = this.#around(this.#middle)
    this.#agedAt = options.now()
  }

  /** Capacity around which is estimated, bytes. */
  get middle (): number { return this.#middle }
  get last (): Resize | undefined { return this.#last }
  get adapts (): boolean { return this.#steps !== undefined }
  /** Share of the objects that is looked at. */
  get rate (): number { return this.#miniatures.rate }
  /** Requests that the estimates stand for. */
  get requests (): number { return this.#miniatures.requests }
  /** Share of the same requests that the cache had; undefined before the first. */
  get hitRatio (): number | undefined { return this.requests > 0 ? this.#hits / this.requests : undefined }

  /** @param size bytes; undefined when the cache does not have it */
  requested (id: string, size: number | undefined): void {
    if (size !== undefined) this.#hits++
    this.#miniatures.requested(id, size)
  }

  stored (id: string, size: number): void {
    this.#miniatures.stored(id, size)
  }

  curve (): CurvePoint[] {
    return this.#miniatures.curve()
  }

  /** Points (hundredths) of the byte hit ratio that so many bytes more, or fewer, would bring. */
  gain (bytes: number): number {
    const curve = this.curve()
    const { bytes: now } = this.#options.cache()
    return (byteHitRatioAt(curve, now + bytes) - byteHitRatioAt(curve, now)) * 100
  }

  /** Lets the old count for less, and moves the bound if that is due. */
  look (): void {
    const { cache, now, resize, resized, mayResize } = this.#options
    const facts = cache()
    this.#age(now())
    if (!coversWell(this.#middle, facts.bytes)) this.#startAnew(facts.bytes)
    if (this.#steps === undefined || !mayResize()) return
    const curve = this.requests >= LEAST_REQUESTS ? this.curve() : undefined
    const step = this.#steps.look({ ...facts, byteHitRatioAt: curve === undefined ? undefined : bytes => byteHitRatioAt(curve, bytes) })
    if (step === undefined) return
    resize(step.bytes)
    this.#last = { at: now(), from: facts.bytes, to: step.bytes, reason: step.reason }
    resized(this.#last)
  }

  #age (now: number): void {
    const factor = 2 ** (-Math.max(0, now - this.#agedAt) / HALF_LIFE_MS)
    this.#agedAt = now
    this.#hits *= factor
    this.#miniatures.age(factor)
  }

  #startAnew (middle: number): void {
    this.#middle = middle
    this.#miniatures = this.#around(middle)
    this.#hits = 0
  }

  #around (bytes: number): Miniatures {
    return new Miniatures({ policy: this.#options.policy, capacities: capacitiesAround(bytes), salt: Math.floor(this.#options.random() * 2 ** 32) })
  }
}
