import type { Evictable, EvictionOrder } from '../eviction-order.ts'
import { NONE, ObjectSlots, SlotLinks, SlotQueue, type SlotValues } from '../slots.ts'

/** Some of a queue: the values whose mark is within bounds, both included. */
export interface Rank {
  readonly queue: SlotQueue
  readonly least: number
  readonly most: number
}

/** What policies made of queues have in common: everything but where a value goes, and which is next. */
export abstract class QueueOrder<V extends Evictable> implements EvictionOrder<V> {
  protected readonly slots = new SlotLinks()
  protected readonly values: SlotValues<V>
  readonly #queues: SlotQueue[] = []
  /** What a walk has just met. */
  #met = NONE
  /** Met by this walk and left: out of the way until the walk ends. */
  readonly #aside: SlotQueue
  readonly #kept: SlotQueue
  #bytes = 0

  /** @param values objects by id by default */
  constructor (values: SlotValues<V> = new ObjectSlots()) {
    this.values = values
    this.#aside = this.queue()
    this.#kept = this.queue()
  }

  get count (): number { return this.values.count }
  /** Of all values that may go. */
  protected get bytes (): number { return this.#bytes }

  /** One more queue of this order. */
  protected queue (): SlotQueue {
    const made = new SlotQueue(this.slots, this.values, this.#queues.length + 1)
    this.#queues.push(made)
    return made
  }

  /** A value was put into `slot`, which is in no queue. */
  protected abstract admitted (slot: number): void
  protected abstract used (slot: number): void
  /** An id was asked for, there or not. */
  protected asked (_id: string): void {}
  /** The slot that should go next, NONE when the policy's queues are empty; values may move. */
  protected abstract next (): number
  /** A walk begins. */
  protected walks (): void {}
  /** The slot of the value is in no queue any more. */
  protected abstract removed (value: V, evicted: boolean, from: SlotQueue): void
  /** All values, the first victims first. */
  protected abstract ranks (): readonly Rank[]

  find (id: string): V | undefined {
    const slot = this.values.slotOf(id)
    return slot === NONE ? undefined : this.values.valueAt(slot)
  }

  touch (id: string): V | undefined {
    this.asked(id)
    const slot = this.values.slotOf(id)
    if (slot === NONE) return undefined
    if (!this.#keeps(slot)) this.used(slot)
    return this.values.valueAt(slot)
  }

  admit (value: V): void {
    this.putBack(this.values.open(value))
  }

  /** Takes in what a slot of the values holds already: of a million of an earlier run, no objects are made. */
  putBack (slot: number): void {
    this.slots.open(slot)
    this.#bytes += this.values.sizeAt(slot)
    this.admitted(slot)
  }

  remove (value: V): void {
    const slot = this.values.slotOf(value.id)
    const isKept = this.#keeps(slot)
    const from = this.takeOut(slot)
    this.values.close(slot, value)
    if (isKept) return
    this.#bytes -= value.size
    this.removed(value, slot === this.#met, from)
    if (slot === this.#met) this.#met = NONE
  }

  keep (value: V, on: boolean): void {
    const slot = this.values.slotOf(value.id)
    if (this.#keeps(slot) === on) return
    const from = this.takeOut(slot)
    if (on) {
      this.#bytes -= value.size
      this.removed(value, false, from)
      this.#kept.append(slot)
    } else {
      this.putBack(slot)
    }
  }

  * victims (): Generator<V, void> {
    const left: [slot: number, queue: SlotQueue][] = []
    try {
      this.walks()
      for (let slot = this.next(); slot !== NONE; slot = this.next()) {
        this.#met = slot
        yield this.values.valueAt(slot)
        if (this.#met === NONE) continue
        left.push([slot, this.move(slot, this.#aside)])
      }
    } finally {
      this.#met = NONE
      for (const [slot, queue] of left) this.move(slot, queue)
    }
  }

  * firstOut (): Generator<V, void> {
    for (const { queue, least, most } of this.ranks()) {
      for (const slot of queue.all()) {
        const mark = this.slots.markOf(slot)
        if (mark >= least && mark <= most) yield this.values.valueAt(slot)
      }
    }
    for (const slot of this.#kept.all()) yield this.values.valueAt(slot)
  }

  #keeps (slot: number): boolean {
    return this.slots.queueOf[slot] === this.#kept.number
  }

  /** Puts a slot behind all others of a queue. @returns where it was */
  protected move (slot: number, to: SlotQueue): SlotQueue {
    const from = this.takeOut(slot)
    to.append(slot)
    return from
  }

  protected queueOf (slot: number): SlotQueue {
    const queue = this.#queues[(this.slots.queueOf[slot] ?? 0) - 1]
    if (queue === undefined) throw new Error(`slot ${slot} is in no queue`)
    return queue
  }

  protected takeOut (slot: number): SlotQueue {
    const queue = this.queueOf(slot)
    queue.remove(slot)
    return queue
  }
}
