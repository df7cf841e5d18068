import { LRUCache } from 'lru-cache'

/** Why a value left the index. */
export type RemovalReason = 'capacity' | 'purge' | 'replaced' | 'invalid'

/** Book-keeping that every value carries itself: a million entries cannot afford a wrapper object each. */
export interface Leasable {
  readonly id: string
  /** Bytes this value occupies. */
  readonly size: number
  /** Readers that hold the value now. Written by LeasedLru only. */
  leases: number
  /** Whether a lookup finds it. Written by LeasedLru only. */
  indexed: boolean
}

/** Room promised to a value that is still being written. */
export interface Reservation {
  /** Written by LeasedLru only. */
  bytes: number
  settled: boolean
}

export interface LeasedLruOptions<V extends Leasable> {
  readonly maxBytes: number
  /** Called once per value, when no lookup finds it and no reader holds it: its resources may go. */
  readonly onFree: (value: V, reason: RemovalReason) => void
}

/**
 * An LRU bounded by bytes whose values can be leased. A leased value is never freed and never chosen for eviction; one that is
 * deleted while leased leaves the index immediately, and its bytes count until its last reader is gone.
 *
 * Invariant after every call: `usedBytes <= maxBytes`, unless a `resize` went below what leases and reservations hold;
 * then nothing new is admitted and every release shrinks towards the bound.
 */
export class LeasedLru<V extends Leasable> {
  readonly #lru: LRUCache<string, V>
  readonly #onFree: LeasedLruOptions<V>['onFree']
  readonly #condemned = new Map<V, RemovalReason>()
  #maxBytes: number
  #indexedBytes = 0
  #leasedIndexedBytes = 0
  #condemnedBytes = 0
  #reservedBytes = 0

  constructor (options: LeasedLruOptions<V>) {
    // lru-cache keeps order and sizes; the bound is enforced here, because it must skip leased values and change at run time.
    this.#lru = new LRUCache({ maxSize: Number.MAX_SAFE_INTEGER, sizeCalculation: value => Math.max(1, value.size) })
    this.#onFree = options.onFree
    this.#maxBytes = options.maxBytes
  }

  get maxBytes (): number { return this.#maxBytes }
  /** Values a lookup can find. */
  get count (): number { return this.#lru.size }
  get indexedBytes (): number { return this.#indexedBytes }
  get reservedBytes (): number { return this.#reservedBytes }
  /** Bytes of deleted values that readers still hold. */
  get condemnedBytes (): number { return this.#condemnedBytes }
  get condemnedCount (): number { return this.#condemned.size }
  get usedBytes (): number { return this.#indexedBytes + this.#condemnedBytes + this.#reservedBytes }

  /** The value, made most recently used. */
  get (id: string): V | undefined {
    return this.#lru.get(id)
  }

  /** The value, recency unchanged. */
  peek (id: string): V | undefined {
    return this.#lru.peek(id)
  }

  /** Values from least to most recently used; the index must not change while iterating. */
  * oldestFirst (): Generator<V, void> {
    for (const value of this.#lru.rvalues()) if (value !== undefined) yield value
  }

  /** Values from most to least recently used; the index must not change while iterating. */
  * newestFirst (): Generator<V, void> {
    for (const value of this.#lru.values()) if (value !== undefined) yield value
  }

  lease (value: V): void {
    value.leases++
    if (value.leases === 1 && value.indexed) this.#leasedIndexedBytes += value.size
  }

  release (value: V): void {
    if (value.leases === 0) throw new Error(`release without lease: ${value.id}`)
    value.leases--
    if (value.leases > 0) return
    if (value.indexed) {
      this.#leasedIndexedBytes -= value.size
      if (this.usedBytes > this.#maxBytes) this.#shrinkTo(this.#maxBytes)
      return
    }
    const reason = this.#condemned.get(value)
    if (reason === undefined) return
    this.#condemned.delete(value)
    this.#condemnedBytes -= value.size
    this.#onFree(value, reason)
  }

  /**
   * Makes room for `bytes`, evicting from the least recently used end.
   * @returns undefined, with nothing evicted, when leases and other reservations leave too little room
   */
  reserve (bytes: number): Reservation | undefined {
    const freeable = this.#indexedBytes - this.#leasedIndexedBytes
    if (this.usedBytes - freeable + bytes > this.#maxBytes) return undefined
    this.#shrinkTo(this.#maxBytes - bytes)
    this.#reservedBytes += bytes
    return { bytes, settled: false }
  }

  /** Makes a reservation as large as `bytes`, if it is not; false, with nothing changed, when there is no such room. */
  grow (reservation: Reservation, bytes: number): boolean {
    const more = bytes - reservation.bytes
    if (more <= 0) return true
    if (reservation.settled || this.reserve(more) === undefined) return false
    reservation.bytes = bytes
    return true
  }

  /** Evicts at least `bytes` from the least recently used end, as far as leases allow; returns how many went. */
  evict (bytes: number): number {
    const before = this.#indexedBytes
    this.#shrinkTo(this.usedBytes - bytes)
    return before - this.#indexedBytes
  }

  /** Gives reserved room back; a second call does nothing. */
  cancel (reservation: Reservation): void {
    if (reservation.settled) return
    reservation.settled = true
    this.#reservedBytes -= reservation.bytes
  }

  /** Turns a reservation into an indexed value, most recently used. A value under the same id is replaced, not counted twice. */
  commit (reservation: Reservation, value: V): void {
    if (reservation.settled) throw new Error('reservation is already settled')
    if (value.size > reservation.bytes) throw new Error(`value of ${value.size} bytes exceeds its reservation of ${reservation.bytes}`)
    this.cancel(reservation)
    this.#insert(value)
    // The bound may have come down since the room was promised.
    this.#shrinkTo(this.#maxBytes)
  }

  /** Puts back a value known from an earlier run, most recently used; false when it does not fit. Nothing is evicted for it. */
  restore (value: V): boolean {
    if (this.usedBytes + value.size > this.#maxBytes || this.#lru.has(value.id)) return false
    this.#insert(value)
    return true
  }

  /** Removes a value from the index; false when none is there. */
  delete (id: string, reason: RemovalReason): boolean {
    const value = this.#lru.peek(id)
    if (value === undefined) return false
    this.#remove(value, reason)
    return true
  }

  /** Changes the bound and evicts immediately down to it, as far as leases allow. */
  resize (maxBytes: number): void {
    this.#maxBytes = maxBytes
    this.#shrinkTo(maxBytes)
  }

  #insert (value: V): void {
    this.delete(value.id, 'replaced')
    value.indexed = true
    this.#lru.set(value.id, value)
    this.#indexedBytes += value.size
    if (value.leases > 0) this.#leasedIndexedBytes += value.size
  }

  #remove (value: V, reason: RemovalReason): void {
    this.#lru.delete(value.id)
    value.indexed = false
    this.#indexedBytes -= value.size
    if (value.leases === 0) return this.#onFree(value, reason)
    this.#leasedIndexedBytes -= value.size
    this.#condemnedBytes += value.size
    this.#condemned.set(value, reason)
  }

  #oldest (): V | undefined {
    const first: IteratorResult<V, void> = this.oldestFirst().next()
    return first.done === true ? undefined : first.value
  }

  #shrinkTo (target: number): void {
    // A leased value met on the way moves to the young end, so that a long read is stepped over once and not at every eviction.
    let inspect = this.#lru.size
    while (this.usedBytes > target && inspect-- > 0 && this.#indexedBytes > this.#leasedIndexedBytes) {
      const value = this.#oldest()
      if (value === undefined) return
      if (value.leases > 0) this.#lru.get(value.id)
      else this.#remove(value, 'capacity')
    }
  }
}
