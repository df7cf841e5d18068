import { EVICTION_POLICIES, makeOrder } from '../../src/storage/orders/orders.ts'
import { FifoOrder } from '../fakes/fifo-order.ts'
import { evictionOrderContract, type OrderModel } from './eviction-order.ts'

const last = (ids: readonly string[], id: string): string[] => [...ids.filter(other => other !== id), id]
const LRU: OrderModel = { admitted: last, touched: last }

// What the other policies promise themselves is in test/unit/storage/eviction-models.test.ts.
for (const policy of EVICTION_POLICIES) evictionOrderContract(policy, () => makeOrder(policy), policy === 'lru' ? LRU : undefined)
evictionOrderContract('fifo', () => new FifoOrder(), { admitted: last, touched: ids => [...ids] })
