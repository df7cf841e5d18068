/** Caches as the papers describe them, over plain arrays and slow: what the orders of the relay are compared with. They share no code with those. */

export interface NaiveValue {
  readonly id: string
  readonly size: number
}

export interface NaiveCache {
  /** Ids that are cached. */
  readonly ids: readonly string[]
  /** @returns what was evicted for it, first first; undefined for a hit */
  request (id: string, size: number): string[] | undefined
}

const bytesOf = (...lists: readonly (readonly NaiveValue[])[]): number => lists.flat().reduce((sum, { size }) => sum + size, 0)

function without<V extends NaiveValue> (list: V[], id: string): V[] {
  return list.filter(value => value.id !== id)
}

/** What all have in common: a miss evicts until there is room, and then inserts. */
abstract class Naive implements NaiveCache {
  readonly #capacity: number

  constructor (capacity: number) {
    this.#capacity = capacity
  }

  abstract get values (): readonly NaiveValue[]
  protected abstract hit (id: string): void
  protected abstract evict (): NaiveValue
  protected abstract insert (value: NaiveValue): void
  protected ask (_id: string): void {}
  protected before (): void {}

  get ids (): readonly string[] { return this.values.map(({ id }) => id) }

  request (id: string, size: number): string[] | undefined {
    this.ask(id)
    if (this.ids.includes(id)) {
      this.hit(id)
      return undefined
    }
    if (size > this.#capacity) return []
    const evicted: string[] = []
    if (bytesOf(this.values) + size > this.#capacity) this.before()
    while (bytesOf(this.values) + size > this.#capacity) evicted.push(this.evict().id)
    this.insert({ id, size })
    return evicted
  }
}

interface Counted extends NaiveValue { uses: number }

/** Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023, algorithm 1; sizes in bytes, shares of what is cached. Heads are at the end. */
export class NaiveS3Fifo extends Naive {
  small: Counted[] = []
  main: Counted[] = []
  ghost: NaiveValue[] = []

  override get values (): readonly NaiveValue[] { return [...this.small, ...this.main] }

  protected override hit (id: string): void {
    for (const value of [...this.small, ...this.main]) if (value.id === id) value.uses = Math.min(3, value.uses + 1)
  }

  protected override insert (value: NaiveValue): void {
    const isGhost = this.ghost.some(({ id }) => id === value.id)
    this.ghost = without(this.ghost, value.id)
    if (isGhost) this.main.push({ ...value, uses: 0 })
    else this.small.push({ ...value, uses: 0 })
  }

  protected override evict (): NaiveValue {
    for (;;) {
      const fromSmall = this.main.length === 0 || bytesOf(this.small) >= bytesOf(this.small, this.main) * 0.1
      const tail = fromSmall ? this.small.shift() : undefined
      if (tail !== undefined) {
        if (tail.uses > 1) {
          this.main.push({ ...tail, uses: 0 })
          continue
        }
        this.ghost.push(tail)
        while (this.ghost.length > this.values.length || bytesOf(this.ghost) > bytesOf(this.small, this.main) * 0.9) this.ghost.shift()
        return tail
      }
      const old = this.main.shift()
      if (old === undefined) throw new Error('nothing to evict')
      if (old.uses === 0) return old
      this.main.push({ ...old, uses: old.uses - 1 })
    }
  }
}

/** Zhang et al., "SIEVE is simpler than LRU", NSDI 2024, algorithm 1. The head, where the new come in, is at the start. */
export class NaiveSieve extends Naive {
  list: (NaiveValue & { visited: boolean })[] = []
  /** Id of the object that the hand is at. */
  hand: string | undefined

  override get values (): readonly NaiveValue[] { return this.list }

  protected override hit (id: string): void {
    for (const value of this.list) if (value.id === id) value.visited = true
  }

  protected override insert (value: NaiveValue): void {
    this.list.unshift({ ...value, visited: false })
  }

  protected override evict (): NaiveValue {
    let at = this.list.findIndex(({ id }) => id === this.hand)
    if (at < 0) at = this.list.length - 1
    for (;;) {
      const value = this.list[at]
      if (value === undefined) throw new Error('nothing to evict')
      if (!value.visited) {
        this.hand = this.list[at - 1]?.id
        this.list.splice(at, 1)
        return value
      }
      value.visited = false
      at = at === 0 ? this.list.length - 1 : at - 1
    }
  }
}

/** Einziger, Friedman, Manes, "TinyLFU", ACM ToS 2017, section 4: a window of 1 %, segmented LRU with 80 % protected; exact counts up to 15. */
export class NaiveWTinyLfu extends Naive {
  window: NaiveValue[] = []
  /** Fallen out of the window and not compared yet: room is made before it is known what for. */
  candidates: NaiveValue[] = []
  probation: NaiveValue[] = []
  protectedOnes: NaiveValue[] = []
  full = 0
  readonly counts = new Map<string, number>()

  override get values (): readonly NaiveValue[] { return [...this.window, ...this.candidates, ...this.probation, ...this.protectedOnes] }

  protected override ask (id: string): void {
    this.counts.set(id, Math.min(15, this.#count(id) + 1))
  }

  protected override before (): void {
    const now = bytesOf(this.values)
    if (now > this.full || now * 2 < this.full) this.full = now
  }

  protected override hit (id: string): void {
    const value = this.values.find(one => one.id === id)
    if (value === undefined) return
    if (this.window.includes(value)) {
      this.window = [...without(this.window, id), value]
      return
    }
    this.candidates = without(this.candidates, id)
    this.probation = without(this.probation, id)
    this.protectedOnes = [...without(this.protectedOnes, id), value]
    while (this.protectedOnes.length > 1 && bytesOf(this.protectedOnes) > (bytesOf(this.values) - bytesOf(this.window)) * 0.8) {
      this.probation.push(...this.protectedOnes.splice(0, 1))
    }
  }

  protected override insert (value: NaiveValue): void {
    this.window.push(value)
    const isFilling = bytesOf(this.values) > this.full
    while (this.window.length > 1 && bytesOf(this.window) > bytesOf(this.values) * 0.01) {
      (isFilling ? this.probation : this.candidates).push(...this.window.splice(0, 1))
    }
  }

  protected override evict (): NaiveValue {
    const queue = [this.probation, this.protectedOnes].find(one => one.length > 0)
    const [candidate] = this.candidates
    if (candidate !== undefined && queue !== undefined && this.#count(candidate.id) > this.#count(queue[0]?.id ?? '')) {
      this.candidates.shift()
      const [victim] = queue.splice(0, 1)
      this.probation.push(candidate)
      if (victim !== undefined) return victim
    }
    const victim = candidate !== undefined ? this.candidates.shift() : (queue ?? this.window).shift()
    if (victim === undefined) throw new Error('nothing to evict')
    return victim
  }

  #count (id: string): number {
    return this.counts.get(id) ?? 0
  }
}
