import { RelayError } from '../../base/errors.ts'
import type { OpenShard } from '../shards/open-shard.ts'

/** Objects one gateway may hold at the same time: every session's streams together stay far below. */
const MAX_LEASES = 65_536

/** What the relay holds open for one life of its gateway; all of it is released when that life ends. */
export class LeaseTable {
  readonly #leases = new Map<number, OpenShard>()
  #next = 0
  #over = false

  get size (): number { return this.#leases.size }

  /** @throws RelayError RELAY_ERR_FILLS_BUSY when the table is full, RELAY_ERR_STOPPING when the gateway is gone; the object is released then */
  add (shard: OpenShard): number {
    if (this.#over || this.#leases.size >= MAX_LEASES) {
      shard.release()
      throw this.#over
        ? new RelayError('RELAY_ERR_STOPPING', 'the gateway is gone')
        : new RelayError('RELAY_ERR_FILLS_BUSY', `${MAX_LEASES} objects are held for the gateway`)
    }
    const lease = this.#next++
    this.#leases.set(lease, shard)
    return lease
  }

  has (lease: number): boolean { return this.#leases.has(lease) }

  get (lease: number): OpenShard | undefined {
    return this.#leases.get(lease)
  }

  /** Unknown leases are ignored: the gateway may release what a full table never took. */
  release (lease: number): void {
    const shard = this.#leases.get(lease)
    this.#leases.delete(lease)
    shard?.release()
  }

  /** Releases everything, now and from now on. */
  end (): void {
    this.#over = true
    for (const shard of this.#leases.values()) shard.release()
    this.#leases.clear()
  }
}
