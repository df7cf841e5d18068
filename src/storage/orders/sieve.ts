import type { Evictable } from '../eviction-order.ts'
import { QueueOrder, type Rank } from './queue-order.ts'
import { NONE, type SlotQueue } from '../slots.ts'

/** Marks. */
const UNUSED = 0
const USED = 1

/**
 * SIEVE (Zhang et al., NSDI 2024): values in the order in which they came, and a hand that goes from the oldest to the newest and then from the oldest
 * again. It takes the first that was not used since it passed; those that were stay where they are.
 *
 * The row is kept as two: what the hand has ahead, and what it has passed. Values put back begin in the order of their last use, unused.
 */
export class SieveOrder<V extends Evictable> extends QueueOrder<V> {
  #ahead = this.queue()
  #passed = this.queue()

  protected admitted (slot: number): void {
    this.#ahead.append(slot)
  }

  protected used (slot: number): void {
    this.slots.mark[slot] = USED
  }

  protected next (): number {
    for (;;) {
      const slot = this.#ahead.first
      if (slot === NONE || this.slots.markOf(slot) === UNUSED) return slot
      this.slots.mark[slot] = UNUSED
      this.move(slot, this.#passed)
      this.#turn()
    }
  }

  protected removed (): void {
    this.#turn()
  }

  protected ranks (): readonly Rank[] {
    const both = [this.#ahead, this.#passed]
    const ranks = (mark: number): Rank[] => both.map(queue => ({ queue, least: mark, most: mark }))
    return [...ranks(UNUSED), ...ranks(USED)]
  }

  protected override move (slot: number, to: SlotQueue): SlotQueue {
    const from = super.move(slot, to)
    this.#turn()
    return from
  }

  /** Behind the newest comes the oldest, before anything newer is there. */
  #turn (): void {
    if (this.#ahead.first === NONE) [this.#ahead, this.#passed] = [this.#passed, this.#ahead]
  }
}
