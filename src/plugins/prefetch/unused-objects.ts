import { keyId, type ShardKey } from '../../protocol/shard-key.ts'

/** Objects remembered that were brought in and not asked for since. */
export const MAX_UNUSED = 1_024
/** Time within which an object that was brought in ahead should be asked for, ms: eight shards of 10 MB are ten minutes of video at 1 Mbit/s. */
export const EXPECTED_WITHIN_MS = 600_000

/** Why an object was brought in. */
export type PrefetchSource = 'order' | 'hint'

/** An object that was brought in ahead, and that no viewer has asked for yet. */
export interface UnusedObject {
  readonly key: ShardKey
  readonly source: PrefetchSource
  /** Bytes. */
  readonly size: number
  /** Monotonic, ms. */
  readonly at: number
}

/** What was learnt of an object. `late`: it is there, and not asked for in time; it may be used still. */
export interface UnusedOutcome {
  readonly outcome: 'gone' | 'late' | 'forgotten'
  readonly object: UnusedObject
  /** Whether it has been told to be late before. */
  readonly wasLate: boolean
}

/** Which objects were brought in for nothing so far: a bounded number, the oldest is forgotten first. */
export class UnusedObjects {
  /** In the order in which they came. */
  readonly #objects = new Map<string, UnusedObject>()
  /** Those that are late. */
  readonly #late = new Set<string>()
  #bytes = 0

  get count (): number { return this.#objects.size }
  get bytes (): number { return this.#bytes }

  /** @returns what is forgotten for it */
  add (object: UnusedObject): UnusedOutcome | undefined {
    const id = keyId(object.key)
    this.#remove(id)
    this.#objects.set(id, object)
    this.#bytes += object.size
    const [oldest] = this.#objects.keys()
    return this.#objects.size > MAX_UNUSED && oldest !== undefined ? this.#remove(oldest, 'forgotten') : undefined
  }

  /** A viewer asks for it. @returns undefined when it was not brought in ahead, or has been asked for since; `wasLate` as of {@link UnusedOutcome} */
  take (id: string): { readonly object: UnusedObject, readonly wasLate: boolean } | undefined {
    return this.#remove(id)
  }

  /** Looks at all of them. @param cached whether the cache still has an object */
  look (cached: (key: ShardKey) => boolean, now: number): UnusedOutcome[] {
    const outcomes: UnusedOutcome[] = []
    for (const [id, object] of this.#objects) {
      const gone = cached(object.key) ? undefined : this.#remove(id, 'gone')
      if (gone !== undefined) outcomes.push(gone)
      else if (now - object.at >= EXPECTED_WITHIN_MS && !this.#late.has(id)) {
        this.#late.add(id)
        outcomes.push({ outcome: 'late', object, wasLate: false })
      }
    }
    return outcomes
  }

  #remove (id: string, outcome: UnusedOutcome['outcome'] = 'gone'): UnusedOutcome | undefined {
    const object = this.#objects.get(id)
    if (object === undefined) return undefined
    this.#objects.delete(id)
    this.#bytes -= object.size
    return { outcome, object, wasLate: this.#late.delete(id) }
  }
}
