import { abortable } from './waiting.ts'

/**
 * How soon a viewer needs what it asks for. `urgent`: something waits for it, as after a seek. `normal`. `background`: it may be of use later; it is fetched
 * only while nothing else is, and stops for everything else.
 */
export type ReadPriority = 'urgent' | 'normal' | 'background'

const RANKS = { urgent: 0, normal: 1, background: 2 } as const
const BACKGROUND = RANKS.background
/** What is urgent does not wait for a slot until so many more are held than there are for the others. */
const MORE_FOR_URGENT = 4
/** Background requests at the same time, at most. With parts of 1 MiB they fill 50 Mbit/s at 300 ms; what the relay has granted to more would go before what stops them, over HTTP above all. */
const MAX_BACKGROUND = 2

/** The priority of one or several requests, which may rise while they are under way. */
export class Urgency {
  #rank: number
  readonly #listeners = new Set<(before: number) => void>()

  constructor (priority: ReadPriority = 'normal') {
    this.#rank = RANKS[priority]
  }

  /** 0 for what is most urgent. */
  get rank (): number { return this.#rank }

  /** Never lowers it. */
  raise (priority: ReadPriority): void {
    const before = this.#rank
    this.#rank = Math.min(before, RANKS[priority])
    if (this.#rank < before) for (const listener of [...this.#listeners]) listener(before)
  }

  /** Calls back when it has risen; the returned function ends that. */
  onRise (listener: (before: number) => void): () => void {
    this.#listeners.add(listener)
    return () => { this.#listeners.delete(listener) }
  }
}

/** A place among those that are held at the same time. */
export interface Slot {
  /** Gives it back, to be called once. */
  readonly give: () => void
  /** Calls back, once at most, when something else wants to go on instead: what is under way is to be stopped and the slot given back. */
  readonly onYield: (callback: () => void) => void
}

class Place implements Slot {
  readonly urgency: Urgency
  readonly wake: () => void
  readonly give: () => void
  #yields = false
  #onYield: (() => void) | undefined

  constructor (urgency: Urgency, wake: () => void, give: () => void) {
    this.urgency = urgency
    this.wake = wake
    this.give = give
  }

  onYield (callback: () => void): void {
    this.#onYield = callback
    if (this.#yields) callback()
  }

  mustYield (): void {
    if (this.#yields) return
    this.#yields = true
    this.#onYield?.()
  }
}

/**
 * At most `size` holders at the same time, and some more that are urgent; the others wait, the most urgent first, else in order. Background holders are there
 * only while nobody else holds or wants a slot.
 */
export class PrioritySlots {
  readonly #size: number
  readonly #moreForUrgent: number
  readonly #held = new Set<Place>()
  /** By rank. */
  readonly #waiting: ReadonlyArray<Set<Place>> = [new Set(), new Set(), new Set()]

  constructor (size: number, moreForUrgent = MORE_FOR_URGENT) {
    this.#size = size
    this.#moreForUrgent = moreForUrgent
  }

  get held (): number { return this.#held.size }
  get waiting (): number { return this.#waiting.reduce((sum, { size }) => sum + size, 0) }

  /** @throws the reason of the signal */
  async take (urgency: Urgency, signal: AbortSignal): Promise<Slot> {
    signal.throwIfAborted()
    let wake = (): void => {}
    const turn = new Promise<void>(resolve => { wake = resolve })
    const place = new Place(urgency, wake, () => {
      unfollow()
      this.#held.delete(place)
      for (const line of this.#waiting) line.delete(place)
      this.#look()
    })
    const unfollow = urgency.onRise(before => {
      if (this.#waiting[before]?.delete(place) === true) this.#waiting[urgency.rank]?.add(place)
      this.#look()
    })
    this.#waiting[urgency.rank]?.add(place)
    this.#look()
    try {
      await abortable(turn, signal)
    } catch (error) {
      place.give()
      throw error
    }
    return place
  }

  /** Gives those a slot whose turn it is. */
  #look (): void {
    let next = this.#next()
    for (; next !== undefined; next = this.#next()) {
      for (const line of this.#waiting) line.delete(next)
      this.#held.add(next)
      next.wake()
    }
    const isOther = (place: Place): boolean => place.urgency.rank < BACKGROUND
    if (this.#waiting.slice(0, BACKGROUND).every(({ size }) => size === 0) && ![...this.#held].some(isOther)) return
    for (const place of this.#held) if (!isOther(place)) place.mustYield()
  }

  #next (): Place | undefined {
    const rank = this.#waiting.findIndex(({ size }) => size > 0)
    const [first] = this.#waiting[rank] ?? []
    let others = 0
    for (const { urgency } of this.#held) if (urgency.rank < BACKGROUND) others++
    const isFree = rank === BACKGROUND
      ? others === 0 && this.#held.size < Math.min(MAX_BACKGROUND, this.#size)
      : others < this.#size + (rank === RANKS.urgent ? this.#moreForUrgent : 0)
    return isFree ? first : undefined
  }
}
