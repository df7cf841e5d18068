import type { Evictable } from '../eviction-order.ts'
import { QueueOrder, type Rank } from './queue-order.ts'

/** The least recently used goes first; a value in use counts as used when a walk meets it. Values are put back in the order of their last use. */
export class LruOrder<V extends Evictable> extends QueueOrder<V> {
  readonly #uses = this.queue()

  protected admitted (slot: number): void {
    this.#uses.append(slot)
  }

  protected used (slot: number): void {
    this.move(slot, this.#uses)
  }

  protected next (): number {
    return this.#uses.first
  }

  protected removed (): void {}

  protected ranks (): readonly Rank[] {
    return [{ queue: this.#uses, least: 0, most: 0 }]
  }
}
