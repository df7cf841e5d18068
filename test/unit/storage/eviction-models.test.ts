import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { LeasedStore, type Leasable } from '../../../src/storage/leased-store.ts'
import type { EvictionOrder } from '../../../src/storage/eviction-order.ts'
import { makeOrder, type EvictionPolicy } from '../../../src/storage/orders/orders.ts'
import { S3FifoOrder } from '../../../src/storage/orders/s3-fifo.ts'
import { NaiveS3Fifo, NaiveSieve, NaiveWTinyLfu, type NaiveCache } from '../../support/naive-policies.ts'

interface Lab {
  readonly cache: LeasedStore<Leasable>
  /** Ids evicted so far. */
  readonly evicted: string[]
  readonly request: (id: string, size?: number) => string[] | undefined
  /** Ids in the order in which they would go. */
  readonly order: () => string
}

function lab (maxBytes: number, order: EvictionOrder<Leasable>): Lab {
  const evicted: string[] = []
  const cache = new LeasedStore<Leasable>({ maxBytes, order, onFree: ({ id }, reason) => { if (reason === 'capacity') evicted.push(id) } })
  const request = (id: string, size = 1): string[] | undefined => {
    if (cache.get(id) !== undefined) return undefined
    const before = evicted.length
    const reservation = cache.reserve(size)
    if (reservation !== undefined) cache.commit(reservation, { id, size, leases: 0, indexed: false })
    return evicted.slice(before)
  }
  return { cache, evicted, request, order: () => Array.from(cache.firstOut(), ({ id }) => id).join('') }
}

function run (lab: Lab, ids: string): void {
  for (const id of ids) lab.request(id)
}

const MODELS: Readonly<Record<Exclude<EvictionPolicy, 'lru'>, (capacity: number) => NaiveCache>> = {
  's3-fifo': capacity => new NaiveS3Fifo(capacity),
  sieve: capacity => new NaiveSieve(capacity),
  'w-tinylfu': capacity => new NaiveWTinyLfu(capacity)
}

for (const policy of ['s3-fifo', 'sieve', 'w-tinylfu'] as const) {
  test(`${policy}: evicts what the naive cache of its paper evicts, in the same order, whatever is asked for`, () => {
    // Small numbers more often: the popular ones.
    const object = fc.tuple(fc.nat(30), fc.nat(30)).map(([one, other]) => Math.min(one, other))
    const sizes = fc.oneof(fc.constant(Array.from({ length: 31 }, () => 5)), fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 31, maxLength: 31 }))
    fc.assert(fc.property(fc.array(object, { minLength: 20, maxLength: 300, size: 'max' }), sizes, (objects, bytes) => {
      const real = lab(100, makeOrder(policy))
      const naive = MODELS[policy](100)
      for (const n of objects) {
        const [id, size] = [`object-${n}`, bytes[n] ?? 1]
        assert.deepEqual(real.request(id, size), naive.request(id, size))
      }
      assert.deepEqual(Array.from(real.cache.firstOut(), ({ id }) => id).sort(), naive.ids.toSorted())
    }), { numRuns: 100 })
  })
}

test('lru: the paper trail of four', () => {
  const four = lab(4, makeOrder('lru'))
  run(four, 'abcdaef')
  assert.deepEqual([four.evicted.join(''), four.order()], ['bc', 'daef'])
})

test('sieve: figure 1 of the paper: the hand passes what was visited, takes the first that was not, and goes on from there', () => {
  const seven = lab(7, makeOrder('sieve'))
  // The oldest first: A B C D E F G, of which A, B and G were visited.
  run(seven, 'ABCDEFG')
  run(seven, 'ABG')
  assert.deepEqual(seven.request('H'), ['C'])
  run(seven, 'AD')
  // The hand is at D, which was visited again; A is behind it and keeps its mark until the hand comes round.
  assert.deepEqual(seven.request('I'), ['E'])
  assert.deepEqual(seven.request('J'), ['F'])
  // G loses its mark; H, I and J are new, and nobody asked for them.
  assert.deepEqual(seven.request('K'), ['H'])
})

test('sieve: what comes in while the hand is at the newest is not met before the oldest', () => {
  const three = lab(3, makeOrder('sieve'))
  run(three, 'abc')
  run(three, 'ab')
  assert.deepEqual(three.request('d'), ['c'])
  assert.deepEqual(three.request('e'), ['a'])
})

test('s3-fifo: one use does not promote, two do; the main queue gives a round for each use, three at most', () => {
  const ten = lab(10, makeOrder('s3-fifo'))
  run(ten, 'abcdefghij')
  run(ten, 'abb')
  assert.deepEqual(ten.request('k'), ['a'], 'used once')
  assert.deepEqual(ten.request('l'), ['c'], 'b went on to the main queue')
  assert.ok(ten.order().endsWith('b'))
  for (let n = 0; n < 9; n++) ten.request('b')
  // Four rounds of the main queue: three for the uses, and out in the last.
  ten.cache.resize(1)
  assert.deepEqual(ten.order(), 'b', 'everything in the small queue goes before')
})

test('s3-fifo: what comes back soon after it was evicted goes to the main queue; one-hit wonders pass through the small one', () => {
  const ten = lab(10, makeOrder('s3-fifo'))
  run(ten, 'abcdefghij')
  run(ten, 'k')
  assert.equal(ten.evicted.join(''), 'a')
  run(ten, 'a')
  assert.ok(ten.order().endsWith('a'), 'a is in the main queue')
  run(ten, '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ')
  assert.ok(ten.cache.peek('a') !== undefined, '36 objects that are asked for once have not pushed it out')
})

test('s3-fifo: what is purged is no ghost, and ghosts are as many as values at most', () => {
  const order = new S3FifoOrder<Leasable>()
  const ten = lab(10, order)
  run(ten, 'abcdefghij')
  ten.cache.delete('a', 'purge')
  assert.equal(order.ghosts, 0)
  for (let n = 0; n < 1_000; n++) ten.request(`once-${n}`)
  assert.ok(order.ghosts > 0 && order.ghosts <= 10, `${order.ghosts} ghosts`)
  ten.cache.resize(0)
  assert.equal(order.ghosts, 0)
})

test('w-tinylfu: a scan does not push out what is asked for more often than its parts', () => {
  const ten = lab(10, makeOrder('w-tinylfu'))
  run(ten, 'abcdefghi')
  run(ten, 'abcdefghi')
  for (let n = 0; n < 200; n++) ten.request(`scan-${n}`)
  assert.ok(Array.from('abcdefghi').filter(id => ten.cache.peek(id) !== undefined).length >= 8)
})

test('w-tinylfu: what is asked for again and again gets in, although each time it was evicted', () => {
  const ten = lab(10, makeOrder('w-tinylfu'))
  run(ten, 'abcdefghij')
  run(ten, 'abcdefghi')
  for (let n = 0; n < 8; n++) {
    ten.request('new')
    ten.request(`once-${n}`)
    ten.request(`once-again-${n}`)
  }
  assert.ok(ten.cache.peek('new') !== undefined)
})

for (const policy of ['lru', 's3-fifo', 'sieve', 'w-tinylfu'] as const) {
  test(`${policy}: put back after a restart, what nobody used goes first, least recently used first`, () => {
    const order = makeOrder<Leasable>(policy)
    const { cache, order: ids } = lab(1_000, order)
    for (const id of 'abcdefgh') cache.restore({ id, size: 100, leases: 0, indexed: false, hits: 0 })
    assert.equal(ids(), 'abcdefgh')
    cache.resize(500)
    assert.equal(ids(), 'defgh')
  })

  test(`${policy}: a value in use is passed over, and not the first that the next walk meets`, () => {
    const { cache, request, evicted, order } = lab(8, makeOrder(policy))
    for (const id of 'abcdefgh') request(id)
    const first = cache.peek('a')
    assert.ok(first !== undefined)
    cache.lease(first)
    assert.deepEqual(request('i'), ['b'])
    assert.notEqual(order()[0], 'a')
    cache.release(first)
    assert.ok(!evicted.includes('a'))
  })
}

test('s3-fifo: of what is put back, only what was used twice is out of reach of one-hit wonders', () => {
  const { cache, request } = lab(10, makeOrder('s3-fifo'))
  for (const [n, id] of Array.from('abcdefghij').entries()) cache.restore({ id, size: 1, leases: 0, indexed: false, hits: n % 2 === 0 ? 5 : 1 })
  for (let n = 0; n < 100; n++) request(`once-${n}`)
  assert.deepEqual(Array.from('abcdefghij').filter(id => cache.peek(id) !== undefined).join(''), 'acegi')
})
