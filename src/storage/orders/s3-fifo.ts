import type { Evictable } from '../eviction-order.ts'
import { Ghosts } from './ghosts.ts'
import { idHash } from './id-hash.ts'
import { QueueOrder, type Rank } from './queue-order.ts'
import { NONE, type SlotQueue } from '../slots.ts'

/* The numbers of the paper. */
/** Share of the bytes from which a victim is looked for in the small queue. */
const SMALL_SHARE = 0.1
/** Uses that are counted. */
const MOST_USES = 3
/** Uses while in the small queue with which a value goes on to the main one instead of out. */
const PROMOTED_AT = 2

/**
 * S3-FIFO (Yang et al., SOSP 2023): what is new goes through a small queue, and only what is used there twice, or comes back soon after it was evicted,
 * gets into the main one, where each use is worth one more round. Objects that are asked for once never get near the others.
 *
 * Of what the small queue has evicted the hashes are remembered: as many as there are values, and of as many bytes as the main queue may have. Values
 * put back begin in the main queue with as many uses as would have brought them there, otherwise in the small one; both in the order of their last use.
 */
export class S3FifoOrder<V extends Evictable> extends QueueOrder<V> {
  readonly #small = this.queue()
  readonly #main = this.queue()
  readonly #ghosts = new Ghosts()

  /** Evicted ids that are remembered. */
  get ghosts (): number { return this.#ghosts.count }

  protected admitted (slot: number): void {
    const isBack = this.#ghosts.count > 0 && this.#ghosts.take(idHash(this.values.idAt(slot)))
    if (isBack || this.values.hitsAt(slot) >= PROMOTED_AT) this.#main.append(slot)
    else this.#small.append(slot)
  }

  protected used (slot: number): void {
    this.slots.mark[slot] = Math.min(this.slots.markOf(slot) + 1, MOST_USES)
  }

  protected next (): number {
    for (;;) {
      const slot = this.#main.first === NONE || this.#small.bytes >= SMALL_SHARE * this.bytes ? this.#small.first : NONE
      if (slot !== NONE) {
        if (this.slots.markOf(slot) < PROMOTED_AT) return slot
        this.slots.mark[slot] = 0
        this.move(slot, this.#main)
        continue
      }
      const old = this.#main.first
      if (old === NONE) return this.#small.first
      const uses = this.slots.markOf(old)
      if (uses === 0) return old
      this.slots.mark[old] = uses - 1
      this.move(old, this.#main)
    }
  }

  protected removed ({ id, size }: V, evicted: boolean, from: SlotQueue): void {
    if (!evicted || from !== this.#small) return
    this.#ghosts.add(idHash(id), size)
    this.#ghosts.trim(this.count, (1 - SMALL_SHARE) * this.bytes)
  }

  protected ranks (): readonly Rank[] {
    const small = { queue: this.#small, least: 0, most: PROMOTED_AT - 1 }
    const main = Array.from({ length: MOST_USES + 1 }, (_, uses) => ({ queue: this.#main, least: uses, most: uses }))
    return [small, ...main, { queue: this.#small, least: PROMOTED_AT, most: MOST_USES }]
  }
}
