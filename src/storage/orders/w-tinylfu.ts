import type { Evictable } from '../eviction-order.ts'
import { FrequencySketch } from './frequency-sketch.ts'
import { idHash } from './id-hash.ts'
import { QueueOrder, type Rank } from './queue-order.ts'
import { NONE, type SlotQueue } from '../slots.ts'

/* The numbers of the paper. */
/** Share of the bytes that is the window of the newest. */
const WINDOW_SHARE = 0.01
/** Share of the rest that what was used again there may have. */
const PROTECTED_SHARE = 0.8
/** Uses in an earlier run that count: enough against what nobody asks for, and gone after two halvings. */
const REMEMBERED_USES = 3

/**
 * W-TinyLFU (Einziger, Friedman, Manes, ACM ToS 2017): new values pass a small window (LRU); the one that falls out of it is a candidate, and stays only
 * if it was asked for more often lately than the one that would go instead. The others are a segmented LRU: on probation until used again.
 *
 * A cache makes room before it knows what for, so candidates wait for the next eviction. While the cache fills, there is nothing to compare with,
 * and they go on. Values put back are on probation in the order of their last use, with as many uses as they had, three at most.
 */
export class WTinyLfuOrder<V extends Evictable> extends QueueOrder<V> {
  readonly #window = this.queue()
  readonly #candidates = this.queue()
  readonly #probation = this.queue()
  readonly #protected = this.queue()
  readonly #sketch = new FrequencySketch()
  /** Bytes with which the cache was full. */
  #full = 0

  /** Whether an id that is not there was asked for more often lately than what would go for it. */
  outranks (id: string): boolean {
    const victim = [this.#candidates, this.#probation, this.#protected].map(queue => queue.first).find(slot => slot !== NONE)
    return victim === undefined || this.#sketch.estimate(idHash(id)) > this.#usesOf(victim)
  }

  protected override asked (id: string): void {
    this.#sketch.add(idHash(id))
  }

  protected admitted (slot: number): void {
    this.#sketch.fit(this.count)
    for (let n = Math.min(this.values.hitsAt(slot), REMEMBERED_USES); n > 0; n--) this.asked(this.values.idAt(slot))
    this.#window.append(slot)
    const { bytes } = this
    const most = WINDOW_SHARE * bytes
    const to = bytes > this.#full ? this.#probation : this.#candidates
    while (this.#window.bytes > most && this.#window.first !== slot) this.move(this.#window.first, to)
  }

  protected used (slot: number): void {
    const queue = this.queueOf(slot)
    if (queue === this.#window) {
      this.move(slot, queue)
      return
    }
    this.move(slot, this.#protected)
    const most = PROTECTED_SHARE * (this.bytes - this.#window.bytes)
    while (this.#protected.bytes > most && this.#protected.first !== slot) this.move(this.#protected.first, this.#probation)
  }

  protected override walks (): void {
    const { bytes } = this
    // A little less is there each time, since objects are of different sizes; half as much is another bound.
    if (bytes > this.#full || bytes < this.#full / 2) this.#full = bytes
  }

  protected next (): number {
    const candidate = this.#candidates.first
    const oldest = this.#probation.first === NONE ? this.#protected.first : this.#probation.first
    if (candidate === NONE) return oldest === NONE ? this.#window.first : oldest
    if (oldest === NONE) return candidate
    if (this.#usesOf(candidate) <= this.#usesOf(oldest)) return candidate
    this.move(candidate, this.#probation)
    return oldest
  }

  protected removed ({ size }: V, evicted: boolean, _from: SlotQueue): void {
    // What others take out is filled again without a victim.
    if (!evicted) this.#full -= size
  }

  protected ranks (): readonly Rank[] {
    return [this.#candidates, this.#probation, this.#protected, this.#window].map(queue => ({ queue, least: 0, most: 0 }))
  }

  #usesOf (slot: number): number {
    return this.#sketch.estimate(idHash(this.values.idAt(slot)))
  }
}
