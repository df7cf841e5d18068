import { LeasedLru, type Leasable, type RemovalReason } from './leased-lru.ts'

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
 * Hot objects in memory. A buffer that a slow reader holds keeps counting until the reader is done, so readers cannot pile up
 * memory behind the bound.
 */
export class RamTier {
  readonly #lru: LeasedLru<RamObject>
  readonly #loading = new Set<string>()

  constructor (options: RamTierOptions) {
    this.#lru = new LeasedLru<RamObject>({
      maxBytes: options.maxBytes,
      onFree: (object, reason) => options.onRemoved(object.size, reason)
    })
  }

  get maxBytes (): number { return this.#lru.maxBytes }
  get usedBytes (): number { return this.#lru.usedBytes }
  get count (): number { return this.#lru.count }

  /** The object, pinned until `release`d; one with other bytes is left from an earlier life of the id and goes. */
  lease (id: string, sha256: string): RamObject | undefined {
    const object = this.#lru.get(id)
    if (object === undefined) return undefined
    if (object.sha256 !== sha256) {
      this.#lru.delete(id, 'replaced')
      return undefined
    }
    this.#lru.lease(object)
    return object
  }

  release (object: RamObject): void {
    this.#lru.release(object)
  }

  delete (id: string, reason: RemovalReason): void {
    this.#lru.delete(id, reason)
  }

  resize (maxBytes: number): void {
    this.#lru.resize(maxBytes)
  }

  /**
   * Brings an object in by `read`, which fills the buffer it is given and says whether the object still belongs here. Loads of one
   * id do not overlap, and an object larger than an eighth of the tier stays out: it would push out eight others for one.
   */
  async load ({ id, size, sha256 }: Pick<RamObject, 'id' | 'size' | 'sha256'>, read: (into: Buffer) => Promise<boolean>): Promise<boolean> {
    if (size === 0 || size > this.maxBytes / 8 || this.#loading.has(id) || this.#lru.peek(id) !== undefined) return false
    const reservation = this.#lru.reserve(size)
    if (reservation === undefined) return false
    this.#loading.add(id)
    try {
      const buffer = Buffer.allocUnsafeSlow(size)
      if (!await read(buffer)) return false
      this.#lru.commit(reservation, { id, size, sha256, buffer, leases: 0, indexed: false })
      return true
    } finally {
      this.#lru.cancel(reservation)
      this.#loading.delete(id)
    }
  }
}
