import type { Evictable, EvictionOrder } from './eviction-order.ts'
import { LruOrder } from './orders/lru.ts'

/** Why a value left the index. */
export type RemovalReason = 'capacity' | 'purge' | 'replaced' | 'invalid'

/** Book-keeping that every value carries itself: a million entries cannot afford a wrapper object each. */
export interface Leasable extends Evictable {
  /** Readers that hold the value now. Written by LeasedStore only. */
  leases: number
  /** Whether a lookup finds it. Written by LeasedStore only. */
  indexed: boolean
  /** Whether it is not evicted, although nobody reads it. Written by LeasedStore only. */
  pinned?: boolean
}

/** Room promised to a value that is still being written. */
export interface Reservation {
  /** Written by LeasedStore only. */
  bytes: number
  settled: boolean
}

export interface LeasedStoreOptions<V extends Leasable> {
  readonly maxBytes: number
  /** Called once per value, when no lookup finds it and no reader holds it: its resources may go. */
  readonly onFree: (value: V, reason: RemovalReason) => void
  /** Which value goes first, empty; the least recently used by default. */
  readonly order?: EvictionOrder<V> | undefined
}

/**
 * A cache bounded by bytes whose values can be leased; its order says which go first. A leased value is never freed and never evicted, a pinned one never evicted; one that is
 * deleted while leased leaves the index immediately, and its bytes count until its last reader is gone.
 *
 * Invariant after every call: `usedBytes <= maxBytes`, unless a `resize` went below what leases and reservations hold;
 * then nothing new is admitted and every release shrinks towards the bound.
 */
export class LeasedStore<V extends Leasable> {
  readonly #order: EvictionOrder<V>
  readonly #onFree: LeasedStoreOptions<V>['onFree']
  readonly #condemned = new Map<V, RemovalReason>()
  #maxBytes: number
  #indexedBytes = 0
  /** Of values that a lookup finds and no eviction takes: leased or pinned. */
  #heldBytes = 0
  #pinnedBytes = 0
  #condemnedBytes = 0
  #reservedBytes = 0

  constructor (options: LeasedStoreOptions<V>) {
    this.#order = options.order ?? new LruOrder()
    this.#onFree = options.onFree
    this.#maxBytes = options.maxBytes
  }

  get maxBytes (): number { return this.#maxBytes }
  /** Values a lookup can find. */
  get count (): number { return this.#order.count }
  get indexedBytes (): number { return this.#indexedBytes }
  /** Bytes of pinned values. */
  get pinnedBytes (): number { return this.#pinnedBytes }
  get reservedBytes (): number { return this.#reservedBytes }
  /** Bytes of deleted values that readers still hold. */
  get condemnedBytes (): number { return this.#condemnedBytes }
  get condemnedCount (): number { return this.#condemned.size }
  get usedBytes (): number { return this.#indexedBytes + this.#condemnedBytes + this.#reservedBytes }

  /** The value, and counts as a use of it. */
  get (id: string): V | undefined {
    return this.#order.touch(id)
  }

  /** The value, without counting as a use of it. */
  peek (id: string): V | undefined {
    return this.#order.find(id)
  }

  /** Values, as far as the policy can tell the first victim first; the index must not change while iterating. */
  firstOut (): Generator<V, void> {
    return this.#order.firstOut()
  }

  lease (value: V): void {
    value.leases++
    if (value.leases === 1 && value.indexed && value.pinned !== true) this.#heldBytes += value.size
  }

  release (value: V): void {
    if (value.leases === 0) throw new Error(`release without lease: ${value.id}`)
    value.leases--
    if (value.leases > 0) return
    if (value.indexed) {
      if (value.pinned === true) return
      this.#heldBytes -= value.size
      if (this.usedBytes > this.#maxBytes) this.#shrinkTo(this.#maxBytes)
      return
    }
    const reason = this.#condemned.get(value)
    if (reason === undefined) return
    this.#condemned.delete(value)
    this.#condemnedBytes -= value.size
    this.#onFree(value, reason)
  }

  /** Pins a value that a lookup finds, or lets it go: evictions pass over it without meeting it. It may be deleted and replaced, which ends its pin. */
  pin (value: V, on: boolean): void {
    if (!value.indexed || (value.pinned === true) === on) return
    const bytes = on ? value.size : -value.size
    this.#pinnedBytes += bytes
    if (value.leases === 0) this.#heldBytes += bytes
    value.pinned = on
    this.#order.keep(value, on)
    if (!on && this.usedBytes > this.#maxBytes) this.#shrinkTo(this.#maxBytes)
  }

  /**
   * Makes room for `bytes`, evicting in order.
   * @returns undefined, with nothing evicted, when leases and other reservations leave too little room
   */
  reserve (bytes: number): Reservation | undefined {
    const freeable = this.#indexedBytes - this.#heldBytes
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

  /** Evicts at least `bytes` in order, as far as leases allow; returns how many went. */
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

  /** Turns a reservation into an indexed value. A value under the same id is replaced, not counted twice. */
  commit (reservation: Reservation, value: V): void {
    if (reservation.settled) throw new Error('reservation is already settled')
    if (value.size > reservation.bytes) throw new Error(`value of ${value.size} bytes exceeds its reservation of ${reservation.bytes}`)
    this.cancel(reservation)
    this.#insert(value)
    // The bound may have come down since the room was promised.
    this.#shrinkTo(this.#maxBytes)
  }

  /** Puts back a value known from an earlier run; false when it does not fit. Nothing is evicted for it. */
  restore (value: V): boolean {
    if (this.usedBytes + value.size > this.#maxBytes || this.#order.find(value.id) !== undefined) return false
    this.#insert(value)
    return true
  }

  /** The order has put back values of an earlier run by itself. @param bytes of them all, which fit */
  putBack (bytes: number): void {
    this.#indexedBytes += bytes
  }

  /** Removes a value from the index; false when none is there. */
  delete (id: string, reason: RemovalReason): boolean {
    const value = this.#order.find(id)
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
    this.#order.admit(value)
    this.#indexedBytes += value.size
    if (value.leases > 0) this.#heldBytes += value.size
  }

  #remove (value: V, reason: RemovalReason): void {
    const { pinned = false } = value
    this.#order.remove(value)
    value.indexed = false
    value.pinned = false
    this.#indexedBytes -= value.size
    if (pinned) this.#pinnedBytes -= value.size
    if (pinned || value.leases > 0) this.#heldBytes -= value.size
    if (value.leases === 0) return this.#onFree(value, reason)
    this.#condemnedBytes += value.size
    this.#condemned.set(value, reason)
  }

  #shrinkTo (target: number): void {
    if (!this.#mustShrink(target)) return
    for (const value of this.#order.victims()) {
      if (value.leases === 0) this.#remove(value, 'capacity')
      if (!this.#mustShrink(target)) return
    }
  }

  #mustShrink (target: number): boolean {
    return this.usedBytes > target && this.#indexedBytes > this.#heldBytes
  }
}
