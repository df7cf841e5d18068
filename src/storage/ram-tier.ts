import { LeasedStore, type Leasable, type RemovalReason } from './leased-store.ts'
import { WTinyLfuOrder } from './orders/w-tinylfu.ts'

/** A whole object in memory. */
export interface RamObject extends Leasable {
  /** Digest of the bytes, lower-case hex. */
  readonly sha256: string
  readonly buffer: Buffer
}

export interface RamTierOptions {
  /** 0 switches the tier off. */
  readonly maxBytes: number
  readonly onRemoved: (bytes: number, reason: RemovalReason) => void
}

/**
 * Hot objects in memory: those asked for most often lately (W-TinyLFU). One that would have to take the place of another that is asked for as often is not
 * copied in, since copying is what this tier costs. A buffer that a slow reader holds keeps counting until the reader is done, so readers cannot pile up
 * memory behind the bound.
 */
export class RamTier {
  readonly #order = new WTinyLfuOrder<RamObject>()
  readonly #leased: LeasedStore<RamObject>
  readonly #loading = new Set<string>()

  constructor (options: RamTierOptions) {
    this.#leased = new LeasedStore<RamObject>({
      maxBytes: options.maxBytes,
      order: this.#order,
      onFree: (object, reason) => options.onRemoved(object.size, reason)
    })
  }

  get maxBytes (): number { return this.#leased.maxBytes }
  get usedBytes (): number { return this.#leased.usedBytes }
  get count (): number { return this.#leased.count }

  /** The object, pinned until `release`d; one with other bytes is left from an earlier life of the id and goes. */
  lease (id: string, sha256: string): RamObject | undefined {
    const object = this.#leased.get(id)
    if (object === undefined) return undefined
    if (object.sha256 !== sha256) {
      this.#leased.delete(id, 'replaced')
      return undefined
    }
    this.#leased.lease(object)
    return object
  }

  release (object: RamObject): void {
    this.#leased.release(object)
  }

  delete (id: string, reason: RemovalReason): void {
    this.#leased.delete(id, reason)
  }

  resize (maxBytes: number): void {
    this.#leased.resize(maxBytes)
  }

  /**
   * Brings an object in by `read`, which fills the buffer it is given and says whether the object still belongs here. Loads of one
   * id do not overlap, and an object larger than an eighth of the tier stays out: it would push out eight others for one. So does one that is not asked for more
   * often than what would have to go.
   */
  async load ({ id, size, sha256 }: Pick<RamObject, 'id' | 'size' | 'sha256'>, read: (into: Buffer) => Promise<boolean>): Promise<boolean> {
    if (size === 0 || size > this.maxBytes / 8 || this.#loading.has(id) || this.#leased.peek(id) !== undefined) return false
    if (this.usedBytes + size > this.maxBytes && !this.#order.outranks(id)) return false
    const reservation = this.#leased.reserve(size)
    if (reservation === undefined) return false
    this.#loading.add(id)
    try {
      const buffer = Buffer.allocUnsafeSlow(size)
      if (!await read(buffer)) return false
      this.#leased.commit(reservation, { id, size, sha256, buffer, leases: 0, indexed: false })
      return true
    } finally {
      this.#leased.cancel(reservation)
      this.#loading.delete(id)
    }
  }
}
