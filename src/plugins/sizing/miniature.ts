import { LeasedStore, type Leasable } from '../../storage/leased-store.ts'
import { idHash, mixed } from '../../storage/orders/id-hash.ts'
import { makeOrder, type EvictionPolicy } from '../../storage/orders/orders.ts'

/** Objects in the largest miniature, some 200 bytes each: beyond it, half as many are looked at. */
export const MAX_SAMPLES = 4_096
/** Objects that were asked for and are not stored yet, of which the size is not known. */
export const MAX_WANTED = 4_096

/** What the miniature of a capacity has seen. Counts are estimates for all traffic, and of those the older count for less. */
export interface CurvePoint {
  /** Capacity that it stands for, bytes. */
  readonly bytes: number
  /** Share of the requests, and of their bytes, that would be hits. */
  readonly hitRatio: number
  readonly byteHitRatio: number
}

export interface MiniaturesOptions {
  readonly policy: EvictionPolicy
  /** Capacities to estimate for, bytes, ascending. */
  readonly capacities: readonly number[]
  /** So that nobody can choose objects that are looked at. */
  readonly salt: number
  /** {@link MAX_SAMPLES} by default. */
  readonly maxSamples?: number
}

interface Miniature {
  readonly bytes: number
  readonly cache: LeasedStore<Leasable>
  hits: number
  hitBytes: number
}

/** The range of {@link idHash}. */
const HASHES = 2 ** 30

/**
 * What other capacities would make of the same traffic: caches without bodies, each with the policy in force, a fraction of a capacity, and that
 * fraction of the objects (Waldspurger, Saemundsson, Ahmad, Park: Cache Modeling and Optimization using Miniature Simulations, USENIX ATC 2017). Which objects
 * are looked at is decided by their hash, and fewer are when there are too many (SHARDS, FAST 2015). What the sample has too many or too few requests of counts as
 * hits, since it is hot objects that it has or misses by chance (SHARDS-adj, there).
 */
export class Miniatures {
  readonly #miniatures: readonly Miniature[]
  readonly #salt: number
  readonly #maxSamples: number
  /** How often an object was asked for since it was not there. */
  readonly #wanted = new Map<string, number>()
  #rate = 1
  /** Of all traffic. */
  #requests = 0
  #bytes = 0
  /** What the sample makes of it. */
  #sampled = 0
  #sampledBytes = 0

  constructor ({ policy, capacities, salt, maxSamples = MAX_SAMPLES }: MiniaturesOptions) {
    this.#miniatures = capacities.map(bytes => ({ bytes, hits: 0, hitBytes: 0, cache: new LeasedStore<Leasable>({ maxBytes: bytes, order: makeOrder(policy), onFree: () => {} }) }))
    this.#salt = salt
    this.#maxSamples = maxSamples
  }

  /** Share of the objects that is looked at. */
  get rate (): number { return this.#rate }
  /** Requests that the estimates stand for, the older counting for less. */
  get requests (): number { return this.#requests }
  /** Objects in the largest miniature. */
  get samples (): number { return this.#miniatures.at(-1)?.cache.count ?? 0 }
  get wanted (): number { return this.#wanted.size }

  /** An object was asked for. @param size bytes; undefined when the cache does not have it */
  requested (id: string, size: number | undefined): void {
    this.#requests++
    if (size === undefined) this.#want(id)
    else this.#bytes += size
    if (!this.#looksAt(id)) return
    const weight = 1 / this.#rate
    this.#sampled += weight
    if (size !== undefined) this.#sampledBytes += weight * size
    for (const miniature of this.#miniatures) {
      const value = miniature.cache.get(id)
      if (value !== undefined) {
        miniature.hits += weight
        miniature.hitBytes += weight * value.size
      } else if (size !== undefined) this.#admit(miniature, id, size)
    }
    this.#bound()
  }

  /** An object is in the cache now; what nobody has asked for does not count. */
  stored (id: string, size: number): void {
    const times = this.#wanted.get(id)
    if (times === undefined) return
    this.#wanted.delete(id)
    this.#bytes += times * size
    if (!this.#looksAt(id)) return
    this.#sampledBytes += times * size / this.#rate
    for (const miniature of this.#miniatures) if (miniature.cache.peek(id) === undefined) this.#admit(miniature, id, size)
    this.#bound()
  }

  /** Makes everything counted so far count for less. @param factor 0 to 1 */
  age (factor: number): void {
    this.#requests *= factor
    this.#bytes *= factor
    this.#sampled *= factor
    this.#sampledBytes *= factor
    for (const miniature of this.#miniatures) {
      miniature.hits *= factor
      miniature.hitBytes *= factor
    }
  }

  /** An estimate for each capacity, ascending; ratios never fall with it. */
  curve (): CurvePoint[] {
    let [least, leastBytes] = [0, 0]
    return this.#miniatures.map(({ bytes, hits, hitBytes }) => {
      least = Math.max(least, ratio(hits + this.#requests - this.#sampled, this.#requests))
      leastBytes = Math.max(leastBytes, ratio(hitBytes + this.#bytes - this.#sampledBytes, this.#bytes))
      return { bytes, hitRatio: least, byteHitRatio: leastBytes }
    })
  }

  #want (id: string): void {
    const times = this.#wanted.get(id) ?? 0
    this.#wanted.set(id, times + 1)
    const [oldest] = this.#wanted.keys()
    if (this.#wanted.size > MAX_WANTED && oldest !== undefined) this.#wanted.delete(oldest)
  }

  #looksAt (id: string): boolean {
    return this.#hash(id) < this.#rate * HASHES
  }

  /** Another than that by which policies remember ids, of which the sample would have a part only. */
  #hash (id: string): number {
    return mixed(idHash(id) ^ this.#salt) >>> 2
  }

  #admit ({ cache }: Miniature, id: string, size: number): void {
    const reservation = cache.reserve(size)
    if (reservation !== undefined) cache.commit(reservation, { id, size, leases: 0, indexed: false })
  }

  #bound (): void {
    if (this.samples <= this.#maxSamples) return
    this.#rate /= 2
    for (const { cache, bytes } of this.#miniatures) {
      for (const { id } of Array.from(cache.firstOut())) if (!this.#looksAt(id)) cache.delete(id, 'invalid')
      cache.resize(bytes * this.#rate)
    }
  }
}

function ratio (part: number, whole: number): number {
  return whole > 0 ? Math.min(1, Math.max(0, part / whole)) : 0
}
