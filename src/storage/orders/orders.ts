import type { Evictable, EvictionOrder } from '../eviction-order.ts'
import { LruOrder } from './lru.ts'
import { S3FifoOrder } from './s3-fifo.ts'
import { SieveOrder } from './sieve.ts'
import { WTinyLfuOrder } from './w-tinylfu.ts'

export const EVICTION_POLICIES = ['lru', 's3-fifo', 'sieve', 'w-tinylfu'] as const
export type EvictionPolicy = typeof EVICTION_POLICIES[number]

/** An empty order of a policy. */
export function makeOrder<V extends Evictable> (policy: EvictionPolicy): EvictionOrder<V> {
  switch (policy) {
    case 'lru': return new LruOrder()
    case 's3-fifo': return new S3FifoOrder()
    case 'sieve': return new SieveOrder()
    case 'w-tinylfu': return new WTinyLfuOrder()
  }
}
