import type { Evictable, EvictionOrder } from '../../src/storage/eviction-order.ts'

/** The smallest policy: what came first goes first, whoever used it. Shows what a policy has to bring, and that the contract asks for no recency. */
export class FifoOrder<V extends Evictable> implements EvictionOrder<V> {
  readonly #values = new Map<string, V>()
  readonly #kept = new Map<string, V>()

  get count (): number { return this.#values.size + this.#kept.size }

  find (id: string): V | undefined {
    return this.#values.get(id) ?? this.#kept.get(id)
  }

  touch (id: string): V | undefined {
    return this.find(id)
  }

  admit (value: V): void {
    this.#values.set(value.id, value)
  }

  remove (value: V): void {
    this.#values.delete(value.id)
    this.#kept.delete(value.id)
  }

  keep (value: V, on: boolean): void {
    this.remove(value)
    if (on) this.#kept.set(value.id, value)
    else this.#values.set(value.id, value)
  }

  victims (): Iterable<V> {
    return this.#values.values()
  }

  * firstOut (): Generator<V, void> {
    yield * this.#values.values()
    yield * this.#kept.values()
  }
}
