import { LRUCache } from 'lru-cache'
import type { Libp2pInit } from 'libp2p'

type Datastore = NonNullable<Libp2pInit['datastore']>
type StoreKey = Parameters<Datastore['get']>[0]
type Pair = { key: StoreKey, value: Uint8Array }
type Query = Parameters<Datastore['query']>[0]
type KeyQuery = Parameters<Datastore['queryKeys']>[0]

/** What peers tell of other peers is kept in so many bytes, the entries that were not used longest go first. */
export const DATASTORE_BYTES = 8 * 1024 * 1024
export const DATASTORE_ENTRIES = 8_192

/** libp2p knows it by its name. */
class NoEntryError extends Error {
  override readonly name = 'NotFoundError'
}

/** What libp2p wants to remember, in memory and within bounds; its own has none. */
export class BoundedDatastore implements Datastore {
  readonly #entries = new LRUCache<string, Pair>({
    max: DATASTORE_ENTRIES,
    maxSize: DATASTORE_BYTES,
    sizeCalculation: ({ value }, key) => value.byteLength + key.length
  })

  /** Entries now. */
  get size (): number { return this.#entries.size }

  put (key: StoreKey, value: Uint8Array): StoreKey {
    this.#entries.set(key.toString(), { key, value })
    return key
  }

  get (key: StoreKey): Uint8Array {
    const entry = this.#entries.get(key.toString())
    if (entry === undefined) throw new NoEntryError('there is no such entry')
    return entry.value
  }

  has (key: StoreKey): boolean {
    return this.#entries.has(key.toString())
  }

  delete (key: StoreKey): void {
    this.#entries.delete(key.toString())
  }

  async * putMany (pairs: Parameters<Datastore['putMany']>[0]): AsyncGenerator<StoreKey> {
    for await (const { key, value } of pairs) yield this.put(key, value)
  }

  async * getMany (keys: Parameters<Datastore['getMany']>[0]): AsyncGenerator<Pair> {
    for await (const key of keys) yield { key, value: this.get(key) }
  }

  async * deleteMany (keys: Parameters<Datastore['deleteMany']>[0]): AsyncGenerator<StoreKey> {
    for await (const key of keys) {
      this.delete(key)
      yield key
    }
  }

  batch (): ReturnType<Datastore['batch']> {
    const steps: (() => void)[] = []
    return {
      put: (key, value) => { steps.push(() => { this.put(key, value) }) },
      delete: key => { steps.push(() => { this.delete(key) }) },
      commit: () => { for (const step of steps.splice(0)) step() }
    }
  }

  * query ({ prefix = '', filters = [], orders = [], offset = 0, limit = Infinity }: Query): Generator<Pair> {
    const found = [...this.#entries.values()].filter(pair => pair.key.toString().startsWith(prefix) && filters.every(filter => filter(pair)))
    for (const order of orders) found.sort(order)
    yield * found.slice(offset, offset + limit)
  }

  * queryKeys ({ prefix = '', filters = [], orders = [], offset = 0, limit = Infinity }: KeyQuery): Generator<StoreKey> {
    const found = [...this.#entries.values()].map(({ key }) => key).filter(key => key.toString().startsWith(prefix) && filters.every(filter => filter(key)))
    for (const order of orders) found.sort(order)
    yield * found.slice(offset, offset + limit)
  }
}
