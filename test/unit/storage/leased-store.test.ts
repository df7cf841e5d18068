import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { LeasedStore, type Leasable, type RemovalReason, type Reservation } from '../../../src/storage/leased-store.ts'

interface Value extends Leasable {
  readonly serial: number
}

let serials = 0
function makeValue (id: string, size: number): Value {
  return { id, size, serial: serials++, leases: 0, indexed: false }
}

function sum (values: Iterable<{ readonly size: number }>): number {
  let total = 0
  for (const { size } of values) total += size
  return total
}

function makeLru (maxBytes: number): { lru: LeasedStore<Value>, freed: [Value, RemovalReason][] } {
  const freed: [Value, RemovalReason][] = []
  return { lru: new LeasedStore<Value>({ maxBytes, onFree: (value, reason) => { freed.push([value, reason]) } }), freed }
}

function store (lru: LeasedStore<Value>, id: string, size: number): Value | undefined {
  const reservation = lru.reserve(size)
  if (reservation === undefined) return undefined
  const value = makeValue(id, size)
  lru.commit(reservation, value)
  return value
}

/** The same rules over plain lists, every number summed from scratch. */
class Model {
  /** From least to most recently used. */
  order: Value[] = []
  condemned: Value[] = []
  reservations: Reservation[] = []
  leases = new Map<Value, number>()
  freed: Value[] = []
  maxBytes: number

  constructor (maxBytes: number) {
    this.maxBytes = maxBytes
  }

  get reserved (): number { return this.reservations.reduce((total, { bytes }) => total + bytes, 0) }
  get used (): number { return sum(this.order) + sum(this.condemned) + this.reserved }
  /** What nothing can free now. */
  get held (): number { return sum(this.order.filter(value => this.leased(value))) + sum(this.condemned) + this.reserved }

  leased (value: Value): boolean { return (this.leases.get(value) ?? 0) > 0 }

  touch (value: Value): void {
    this.order = [...this.order.filter(other => other !== value), value]
  }

  remove (value: Value): void {
    this.order = this.order.filter(other => other !== value)
    if (this.leased(value)) this.condemned.push(value)
    else this.freed.push(value)
  }

  insert (value: Value): void {
    const old = this.order.find(({ id }) => id === value.id)
    if (old !== undefined) this.remove(old)
    this.order.push(value)
  }

  release (value: Value): void {
    this.leases.set(value, (this.leases.get(value) ?? 0) - 1)
    if (this.leased(value)) return
    if (!this.condemned.includes(value)) return this.shrink(this.maxBytes)
    this.condemned = this.condemned.filter(other => other !== value)
    this.freed.push(value)
  }

  shrink (target: number): void {
    for (const value of [...this.order]) {
      if (this.used <= target || sum(this.order) === sum(this.order.filter(other => this.leased(other)))) return
      if (this.leased(value)) this.touch(value)
      else this.remove(value)
    }
  }
}

const id = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g')
const size = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(0, 100, 101))
const pick = fc.nat(1_000)
const step = fc.oneof(
  fc.record({ kind: fc.constant('get'), id }),
  fc.record({ kind: fc.constant('lease'), id }),
  fc.record({ kind: fc.constant('release'), pick }),
  fc.record({ kind: fc.constant('reserve'), size }),
  fc.record({ kind: fc.constant('commit'), pick, id, share: fc.integer({ min: 0, max: 4 }), leased: fc.boolean() }),
  fc.record({ kind: fc.constant('cancel'), pick }),
  fc.record({ kind: fc.constant('delete'), id }),
  fc.record({ kind: fc.constant('resize'), size: fc.integer({ min: 0, max: 150 }) }),
  fc.record({ kind: fc.constant('restore'), id, size }),
  fc.record({ kind: fc.constant('store'), id, size })
)
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never

function at<T> (items: readonly T[], position: number): T | undefined {
  return items[position % Math.max(1, items.length)]
}

/** Carries out one step on both and asserts what the step itself promises. */
function perform (lru: LeasedStore<Value>, model: Model, action: Step): void {
  const find = (key: string): Value | undefined => model.order.find(value => value.id === key)
  if (action.kind === 'get') {
    const value = find(action.id)
    assert.equal(lru.peek(action.id), value)
    assert.equal(lru.get(action.id), value)
    if (value !== undefined) model.touch(value)
  } else if (action.kind === 'lease') {
    const value = find(action.id)
    if (value === undefined) return
    lru.lease(value)
    model.leases.set(value, (model.leases.get(value) ?? 0) + 1)
  } else if (action.kind === 'release') {
    const value = at(Array.from(model.leases.keys()).filter(leased => model.leased(leased)), action.pick)
    if (value === undefined) return
    lru.release(value)
    model.release(value)
  } else if (action.kind === 'reserve') {
    reserve(lru, model, action.size)
  } else if (action.kind === 'commit') {
    const reservation = at(model.reservations, action.pick)
    if (reservation !== undefined) commit(lru, model, reservation, makeValue(action.id, Math.floor(reservation.bytes * action.share / 4)), action.leased)
  } else if (action.kind === 'cancel') {
    const reservation = at(model.reservations, action.pick)
    if (reservation === undefined) return
    lru.cancel(reservation)
    lru.cancel(reservation)
    model.reservations = model.reservations.filter(other => other !== reservation)
  } else if (action.kind === 'delete') {
    const value = find(action.id)
    assert.equal(lru.delete(action.id, 'purge'), value !== undefined)
    if (value !== undefined) model.remove(value)
  } else if (action.kind === 'resize') {
    lru.resize(action.size)
    model.maxBytes = action.size
    model.shrink(action.size)
  } else if (action.kind === 'restore') {
    const value = makeValue(action.id, action.size)
    const fits = find(action.id) === undefined && model.used + action.size <= model.maxBytes
    assert.equal(lru.restore(value), fits)
    if (fits) model.insert(value)
  } else {
    const reservation = reserve(lru, model, action.size)
    if (reservation !== undefined) commit(lru, model, reservation, makeValue(action.id, action.size), false)
  }
}

function reserve (lru: LeasedStore<Value>, model: Model, bytes: number): Reservation | undefined {
  const reservation = lru.reserve(bytes)
  assert.equal(reservation !== undefined, model.held + bytes <= model.maxBytes, 'room is promised exactly when it can be made')
  if (reservation === undefined) return undefined
  model.shrink(model.maxBytes - bytes)
  model.reservations.push(reservation)
  return reservation
}

function commit (lru: LeasedStore<Value>, model: Model, reservation: Reservation, value: Value, leased: boolean): void {
  if (leased) {
    lru.lease(value)
    model.leases.set(value, 1)
  }
  lru.commit(reservation, value)
  assert.throws(() => { lru.commit(reservation, value) }, /settled/)
  model.reservations = model.reservations.filter(other => other !== reservation)
  model.insert(value)
  model.shrink(model.maxBytes)
}

test('any interleaving keeps the bound, the sums, the order, and frees each value once and never under a reader', () => {
  fc.assert(fc.property(fc.array(step, { maxLength: 120, size: 'max' }), steps => {
    const model = new Model(100)
    const { lru, freed } = makeLru(100)
    for (const action of steps) {
      const unleased = model.order.filter(value => !model.leased(value))
      const before = freed.length
      perform(lru, model, action)

      assert.deepEqual(Array.from(lru.firstOut()), model.order)
      assert.deepEqual(freed.map(([value]) => value.serial), model.freed.map(value => value.serial))
      assert.equal(new Set(freed.map(([value]) => value)).size, freed.length, 'freed once')
      assert.ok(freed.slice(before).every(([value]) => value.leases === 0 && !value.indexed))
      assert.equal(lru.count, model.order.length)
      assert.equal(lru.indexedBytes, sum(model.order))
      assert.equal(lru.condemnedBytes, sum(model.condemned))
      assert.equal(lru.condemnedCount, model.condemned.length)
      assert.equal(lru.reservedBytes, model.reserved)
      assert.equal(lru.usedBytes, model.used)
      assert.ok(lru.usedBytes <= Math.max(lru.maxBytes, model.held), `${lru.usedBytes} used, ${lru.maxBytes} allowed, ${model.held} held`)
      for (const value of model.order) assert.equal(value.leases, model.leases.get(value) ?? 0)

      const evicted = freed.slice(before).filter(([, reason]) => reason === 'capacity').map(([value]) => value)
      const fresh = evicted.filter(value => !unleased.includes(value))
      const oldest = unleased.filter(value => evicted.includes(value) || model.order.includes(value))
      const known = evicted.filter(value => unleased.includes(value))
      assert.deepEqual(known, oldest.slice(0, known.length), 'the least recently used go first')
      assert.ok(fresh.length <= 1, 'at most the value just stored or just released is evicted besides')
    }
    for (const value of Array.from(model.leases.keys())) while (value.leases > 0) { lru.release(value); model.release(value) }
    for (const reservation of model.reservations) lru.cancel(reservation)
    assert.equal(lru.condemnedBytes + lru.reservedBytes, 0)
    assert.ok(lru.usedBytes <= lru.maxBytes, 'at rest the bound holds without exception')
  }), { numRuns: 600 })
})

test('a key stored twice counts once, also while readers hold the first', () => {
  const { lru, freed } = makeLru(100)
  const first = store(lru, 'a', 30)
  assert.ok(first)
  lru.lease(first)
  store(lru, 'a', 30)
  assert.equal(lru.indexedBytes, 30)
  assert.equal(lru.usedBytes, 60)
  lru.release(first)
  assert.equal(lru.usedBytes, 30)
  assert.deepEqual(freed, [[first, 'replaced']])
})

test('a reservation that cannot be met evicts nothing', () => {
  const { lru, freed } = makeLru(100)
  const held = store(lru, 'held', 60)
  assert.ok(held)
  lru.lease(held)
  store(lru, 'idle', 30)
  assert.equal(lru.reserve(50), undefined)
  assert.deepEqual(freed, [])
  assert.ok(lru.reserve(40))
  assert.equal(freed.length, 1)
})

test('a bound lowered while room is promised holds once the promise is kept', () => {
  const { lru, freed } = makeLru(100)
  const reservation = lru.reserve(80)
  assert.ok(reservation)
  lru.resize(10)
  assert.equal(lru.usedBytes, 80)
  lru.commit(reservation, makeValue('late', 80))
  assert.equal(lru.usedBytes, 0)
  assert.deepEqual(freed.map(([, reason]) => reason), ['capacity'])
})

test('a lowered bound is reached with the last reader of what exceeds it', () => {
  const { lru } = makeLru(100)
  const [a, b] = [store(lru, 'a', 40), store(lru, 'b', 40)]
  assert.ok(a && b)
  lru.lease(a)
  lru.lease(b)
  lru.resize(50)
  assert.equal(lru.usedBytes, 80)
  assert.equal(lru.reserve(1), undefined)
  lru.release(b)
  assert.equal(lru.peek('b'), undefined)
  lru.release(a)
  assert.equal(lru.peek('a'), a)
  assert.equal(lru.usedBytes, 40)
})

test('misuse is an error and changes nothing', () => {
  const { lru } = makeLru(100)
  const value = store(lru, 'a', 10)
  assert.ok(value)
  assert.throws(() => { lru.release(value) }, /release without lease/)
  const reservation = lru.reserve(5)
  assert.ok(reservation)
  assert.throws(() => { lru.commit(reservation, makeValue('b', 6)) }, /exceeds its reservation/)
  assert.equal(lru.usedBytes, 15)
})

test('an eviction steps over long reads once, not again and again', () => {
  const { lru } = makeLru(1_000_000)
  const held = Array.from({ length: 900 }, (_, n) => store(lru, `held${n}`, 1_000))
  for (const value of held) if (value !== undefined) lru.lease(value)
  const first = lru.firstOut().next().value
  for (let n = 0; n < 150; n++) store(lru, `v${n}`, 1_000)
  assert.equal(lru.count, 1_000)
  assert.notEqual(lru.firstOut().next().value, first)
})
