import { LRUCache } from 'lru-cache'

/** What an order knows of a value. */
export interface Evictable {
  readonly id: string
  /** Bytes. Does not change while the value is in an order. */
  readonly size: number
}

/**
 * The values of a cache by id, and which of them goes first: all that an eviction policy decides. It counts no bytes and knows no bound.
 * Holding the values here and not beside it saves a second map, which a million entries would pay for.
 */
export interface EvictionOrder<V extends Evictable> {
  readonly count: number
  /** The value, without counting as a use of it. */
  find: (id: string) => V | undefined
  /** The value, and counts as a use of it. */
  touch: (id: string) => V | undefined
  /** Takes in a value whose id is not there. */
  admit: (value: V) => void
  /** Takes out a value that is there. */
  remove: (value: V) => void
  /**
   * The values in the order in which they should go, each once. Whoever walks removes a value before the next is asked for, or leaves it there and
   * so says that it is in use: the order may then move it back, that the next walk does not meet it first again.
   */
  victims: () => Iterable<V>
  /** The values, as far as the policy can tell the first victim first; nothing moves. The order must not change while iterating. */
  firstOut: () => Generator<V, void>
  /** As `firstOut`, from its end. */
  lastOut: () => Generator<V, void>
}

/** The least recently used goes first; a value in use counts as used when a walk meets it. */
export class LruOrder<V extends Evictable> implements EvictionOrder<V> {
  // The bound is the cache's, which skips values in use and changes at run time.
  readonly #lru = new LRUCache<string, V>({ maxSize: Number.MAX_SAFE_INTEGER, sizeCalculation: value => Math.max(1, value.size) })

  get count (): number { return this.#lru.size }

  find (id: string): V | undefined {
    return this.#lru.peek(id)
  }

  touch (id: string): V | undefined {
    return this.#lru.get(id)
  }

  admit (value: V): void {
    this.#lru.set(value.id, value)
  }

  remove (value: V): void {
    this.#lru.delete(value.id)
  }

  * victims (): Generator<V, void> {
    for (let left = this.#lru.size; left > 0; left--) {
      const value = this.#lru.rvalues().next().value
      if (value === undefined) return
      yield value
      if (this.#lru.peek(value.id) === value) this.#lru.get(value.id)
    }
  }

  * firstOut (): Generator<V, void> {
    for (const value of this.#lru.rvalues()) if (value !== undefined) yield value
  }

  * lastOut (): Generator<V, void> {
    for (const value of this.#lru.values()) if (value !== undefined) yield value
  }
}
