import { LruOrder } from '../../src/storage/eviction-order.ts'
import { FifoOrder } from '../fakes/fifo-order.ts'
import { evictionOrderContract } from './eviction-order.ts'

const last = (ids: readonly string[], id: string): string[] => [...ids.filter(other => other !== id), id]

evictionOrderContract('lru', () => new LruOrder(), { admitted: last, touched: last })
evictionOrderContract('fifo', () => new FifoOrder(), { admitted: last, touched: ids => [...ids] })
