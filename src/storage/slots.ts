import type { Evictable } from './eviction-order.ts'

/** No slot; the first is 1. */
export const NONE = 0
/** Slots at first; doubled when they are full. */
const FIRST_SLOTS = 64

/** Values by id, each in a numbered slot: what an order is made over. A slot whose value has gone is given to another one. */
export interface SlotValues<V extends Evictable> {
  readonly count: number
  /** NONE when the id is not there. */
  slotOf (id: string): number
  /** @throws Error for a slot that holds nothing */
  valueAt (slot: number): V
  idAt (slot: number): string
  /** Bytes of the value. */
  sizeAt (slot: number): number
  /** Uses in an earlier run, of a value that is put back. */
  hitsAt (slot: number): number
  /** A slot for a value whose id is not there. */
  open (value: V): number
  /** Gives back the slot of a value. */
  close (slot: number, value: V): void
}

/** A longer copy of a typed array. */
export function lengthened<A extends Uint8Array | Uint32Array | Float64Array> (from: A, to: A): A {
  to.set(from)
  return to
}

/** Values that are objects of their own. */
export class ObjectSlots<V extends Evictable> implements SlotValues<V> {
  readonly #slotOf = new Map<string, number>()
  readonly #values: (V | undefined)[] = [undefined]
  readonly #free: number[] = []

  get count (): number { return this.#slotOf.size }

  slotOf (id: string): number {
    return this.#slotOf.get(id) ?? NONE
  }

  valueAt (slot: number): V {
    const value = this.#values[slot]
    if (value === undefined) throw new Error(`slot ${slot} is empty`)
    return value
  }

  sizeAt (slot: number): number {
    return this.valueAt(slot).size
  }

  idAt (slot: number): string {
    return this.valueAt(slot).id
  }

  hitsAt (slot: number): number {
    return this.valueAt(slot).hits ?? 0
  }

  open (value: V): number {
    const slot = this.#free.pop() ?? this.#values.length
    this.#values[slot] = value
    this.#slotOf.set(value.id, slot)
    return slot
  }

  close (slot: number, value: V): void {
    this.#slotOf.delete(value.id)
    this.#values[slot] = undefined
    this.#free.push(slot)
  }
}

/** What queues and a policy say of each slot: 10 bytes. What `queueOf`, `next` and `previous` say belongs to {@link SlotQueue}. */
export class SlotLinks {
  next = new Uint32Array(FIRST_SLOTS)
  previous = new Uint32Array(FIRST_SLOTS)
  queueOf = new Uint8Array(FIRST_SLOTS)
  /** What the policy remembers of the value, 0 at first. */
  mark = new Uint8Array(FIRST_SLOTS)

  markOf (slot: number): number {
    return this.mark[slot] ?? 0
  }

  /** Begins with a slot that is in no queue. */
  open (slot: number): void {
    let { length } = this.next
    if (slot >= length) {
      while (slot >= length) length *= 2
      this.next = lengthened(this.next, new Uint32Array(length))
      this.previous = lengthened(this.previous, new Uint32Array(length))
      this.queueOf = lengthened(this.queueOf, new Uint8Array(length))
      this.mark = lengthened(this.mark, new Uint8Array(length))
    }
    this.mark[slot] = 0
  }
}

/** Slots in a row, first in first; a slot is in one queue at most. */
export class SlotQueue {
  readonly #links: SlotLinks
  readonly #sizes: Pick<SlotValues<Evictable>, 'sizeAt'>
  /** Tells the queues of an order apart, from 1 on. */
  readonly number: number
  #first = NONE
  #last = NONE
  #bytes = 0

  constructor (links: SlotLinks, sizes: Pick<SlotValues<Evictable>, 'sizeAt'>, number: number) {
    this.#links = links
    this.#sizes = sizes
    this.number = number
  }

  /** NONE when it is empty. */
  get first (): number { return this.#first }
  get bytes (): number { return this.#bytes }

  append (slot: number): void {
    const { next, previous, queueOf } = this.#links
    queueOf[slot] = this.number
    previous[slot] = this.#last
    next[slot] = NONE
    if (this.#last === NONE) this.#first = slot
    else next[this.#last] = slot
    this.#last = slot
    this.#bytes += this.#sizes.sizeAt(slot)
  }

  /** Takes out a slot that is in this queue. */
  remove (slot: number): void {
    const { next, previous, queueOf } = this.#links
    const before = previous[slot] ?? NONE
    const after = next[slot] ?? NONE
    if (before === NONE) this.#first = after
    else next[before] = after
    if (after === NONE) this.#last = before
    else previous[after] = before
    queueOf[slot] = NONE
    this.#bytes -= this.#sizes.sizeAt(slot)
  }

  /** From the first to the last; the queue must not change while iterating. */
  * all (): Generator<number, void> {
    for (let slot = this.#first; slot !== NONE; slot = this.#links.next[slot] ?? NONE) yield slot
  }
}
