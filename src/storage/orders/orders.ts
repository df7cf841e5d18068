import type { Evictable } from '../eviction-order.ts'
import type { SlotValues } from '../slots.ts'
import { LruOrder } from './lru.ts'
import type { QueueOrder } from './queue-order.ts'
import { S3FifoOrder } from './s3-fifo.ts'
import { SieveOrder } from './sieve.ts'
import { WTinyLfuOrder } from './w-tinylfu.ts'

export type { QueueOrder }

export const EVICTION_POLICIES = ['lru', 's3-fifo', 'sieve', 'w-tinylfu'] as const
export type EvictionPolicy = typeof EVICTION_POLICIES[number]

/** An empty order of a policy. @param values that hold what it orders; objects by id by default */
export function makeOrder<V extends Evictable> (policy: EvictionPolicy, values?: SlotValues<V>): QueueOrder<V> {
  switch (policy) {
    case 'lru': return new LruOrder(values)
    case 's3-fifo': return new S3FifoOrder(values)
    case 'sieve': return new SieveOrder(values)
    case 'w-tinylfu': return new WTinyLfuOrder(values)
  }
}
