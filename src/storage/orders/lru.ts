import { LRUCache } from 'lru-cache'
import type { Evictable, EvictionOrder } from '../eviction-order.ts'

/** The least recently used goes first; a value in use counts as used when a walk meets it. Values are put back in the order of their last use. */
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
}
