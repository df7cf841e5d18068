import type { Evictable } from '../eviction-order.ts'

/** No slot. */
export const NONE = 0
/** Slots at first; doubled when they are full. */
const FIRST_SLOTS = 64

function doubled<A extends Uint8Array | Uint32Array> (from: A, to: A): A {
  to.set(from)
  return to
}

/**
 * Values by id, each in a numbered slot with room for what a queue and a policy say of it: 18 bytes besides the value's place in the map, where an
 * object of its own would take 60. What `queueOf`, `next` and `previous` say belongs to {@link SlotQueue}.
 */
export class ValueSlots<V extends Evictable> {
  readonly #slotOf = new Map<string, number>()
  readonly #values: (V | undefined)[] = [undefined]
  #free = NONE
  next = new Uint32Array(FIRST_SLOTS)
  previous = new Uint32Array(FIRST_SLOTS)
  queueOf = new Uint8Array(FIRST_SLOTS)
  /** What the policy remembers of the value, 0 at first. */
  mark = new Uint8Array(FIRST_SLOTS)

  get count (): number { return this.#slotOf.size }

  /** NONE when the id is not there. */
  slotOf (id: string): number {
    return this.#slotOf.get(id) ?? NONE
  }

  /** @throws Error for a slot that holds nothing */
  valueAt (slot: number): V {
    const value = this.#values[slot]
    if (value === undefined) throw new Error(`slot ${slot} is empty`)
    return value
  }

  markOf (slot: number): number {
    return this.mark[slot] ?? 0
  }

  /** A slot for a value whose id is not there, in no queue. */
  open (value: V): number {
    const slot = this.#free === NONE ? this.#values.length : this.#free
    this.#free = slot < this.#values.length ? this.next[slot] ?? NONE : NONE
    if (slot === this.next.length) this.#grow()
    this.#values[slot] = value
    this.mark[slot] = 0
    this.#slotOf.set(value.id, slot)
    return slot
  }

  /** Frees a slot that is in no queue. */
  close (slot: number): void {
    this.#slotOf.delete(this.valueAt(slot).id)
    this.#values[slot] = undefined
    this.next[slot] = this.#free
    this.#free = slot
  }

  #grow (): void {
    const length = this.next.length * 2
    this.next = doubled(this.next, new Uint32Array(length))
    this.previous = doubled(this.previous, new Uint32Array(length))
    this.queueOf = doubled(this.queueOf, new Uint8Array(length))
    this.mark = doubled(this.mark, new Uint8Array(length))
  }
}

/** Slots in a row, first in first; a slot is in one queue at most. */
export class SlotQueue<V extends Evictable> {
  readonly #slots: ValueSlots<V>
  /** Tells the queues of an order apart, from 1 on. */
  readonly number: number
  #first = NONE
  #last = NONE
  #bytes = 0

  constructor (slots: ValueSlots<V>, number: number) {
    this.#slots = slots
    this.number = number
  }

  /** NONE when it is empty. */
  get first (): number { return this.#first }
  get bytes (): number { return this.#bytes }

  append (slot: number): void {
    const { next, previous, queueOf } = this.#slots
    queueOf[slot] = this.number
    previous[slot] = this.#last
    next[slot] = NONE
    if (this.#last === NONE) this.#first = slot
    else next[this.#last] = slot
    this.#last = slot
    this.#bytes += this.#slots.valueAt(slot).size
  }

  /** Takes out a slot that is in this queue. */
  remove (slot: number): void {
    const { next, previous, queueOf } = this.#slots
    const before = previous[slot] ?? NONE
    const after = next[slot] ?? NONE
    if (before === NONE) this.#first = after
    else next[before] = after
    if (after === NONE) this.#last = before
    else previous[after] = before
    queueOf[slot] = NONE
    this.#bytes -= this.#slots.valueAt(slot).size
  }

  /** From the first to the last; the queue must not change while iterating. */
  * all (): Generator<number, void> {
    for (let slot = this.#first; slot !== NONE; slot = this.#slots.next[slot] ?? NONE) yield slot
  }
}
