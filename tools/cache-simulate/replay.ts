import { LeasedStore, type Leasable } from '../../src/storage/leased-store.ts'
import { makeOrder, type EvictionPolicy } from '../../src/storage/orders/orders.ts'
import type { Trace } from './trace.ts'

export interface Outcome {
  readonly requests: number
  readonly hits: number
  /** Bytes of all requests, and of those that were hits. */
  readonly bytes: number
  readonly hitBytes: number
}

/**
 * Replays a trace through what the relay's disk cache decides with: `LeasedStore` with the order of the policy, in the calls of a lookup, and of a fill
 * that is stored. There are no files, no memory tier, and each fill ends before the next request.
 */
export function replay ({ requests, sizes }: Trace, policy: EvictionPolicy, maxBytes: number): Outcome {
  const cache = new LeasedStore<Leasable>({ maxBytes, order: makeOrder(policy), onFree: () => {} })
  const ids = Array.from(sizes, (_, object) => `object-${object}/0`)
  let [hits, bytes, hitBytes] = [0, 0, 0]
  for (const object of requests) {
    const [id = '', size = 0] = [ids[object], sizes[object]]
    bytes += size
    if (cache.get(id) !== undefined) {
      hits++
      hitBytes += size
      continue
    }
    const reservation = cache.reserve(size)
    if (reservation !== undefined) cache.commit(reservation, { id, size, leases: 0, indexed: false })
  }
  return { requests: requests.length, hits, bytes, hitBytes }
}
