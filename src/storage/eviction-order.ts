/** What an order knows of a value. */
export interface Evictable {
  readonly id: string
  /** Bytes. Does not change while the value is in an order. */
  readonly size: number
  /** Uses in an earlier run, of a value that is put back; a policy that counts uses may begin with them. None by default. */
  readonly hits?: number
}

/**
 * The values of a cache by id, and which of them goes first: all that an eviction policy decides. It knows no bound: a policy that splits the room
 * goes by shares of the bytes that are there, which at an eviction is all the room there is.
 * Holding the values here and not beside it saves a second map, which a million entries would pay for.
 */
export interface EvictionOrder<V extends Evictable> {
  readonly count: number
  /** The value, without counting as a use of it. */
  find: (id: string) => V | undefined
  /** The value, and counts as a use of it; what is not there was asked for, which a policy may remember. */
  touch: (id: string) => V | undefined
  /** Takes in a value whose id is not there. */
  admit: (value: V) => void
  /** Takes out a value that is there: evicted, if a walk of `victims` has just met it; otherwise it is no policy's doing. */
  remove: (value: V) => void
  /**
   * The values in the order in which they should go, each once. Whoever walks removes a value before the next is asked for, or leaves it there and
   * so says that it is in use: the order may then move it back, that the next walk does not meet it first again.
   */
  victims: () => Iterable<V>
  /** Takes a value that is there out of the way of every walk, or lets it be met again as one that has just come; no walk is under way. */
  keep: (value: V, on: boolean) => void
  /** The values, as far as the policy can tell the first victim first, and last those that are kept; nothing moves. The order must not change while iterating. */
  firstOut: () => Generator<V, void>
}
