import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { EvictionOrder } from '../../src/storage/eviction-order.ts'
import { LeasedStore, type Leasable } from '../../src/storage/leased-store.ts'

/** What a policy itself promises, over plain lists of ids, first victim first. Without one, only what holds for every policy is checked. */
export interface OrderModel {
  readonly admitted: (ids: readonly string[], id: string) => string[]
  /** After a use; also after a walk that met the value and left it. */
  readonly touched: (ids: readonly string[], id: string) => string[]
}

export type MakeOrder = <V extends Leasable>() => EvictionOrder<V>

const ids = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
const id = fc.constantFrom(...ids)
const step = fc.oneof(
  fc.record({ kind: fc.constant('admit' as const), id, size: fc.oneof(fc.nat(40), fc.constant(0)) }),
  fc.record({ kind: fc.constant('touch' as const), id }),
  fc.record({ kind: fc.constant('remove' as const), id }),
  // For each value met: whether it goes. The walk ends with the list.
  fc.record({ kind: fc.constant('walk' as const), goes: fc.array(fc.boolean(), { maxLength: 10 }) })
)

function makeValue (name: string, size: number): Leasable {
  return { id: name, size, leases: 0, indexed: false }
}

const namesOf = (values: Iterable<Leasable>): string[] => Array.from(values, value => value.id)

/** Walks as an eviction does; returns what was met. */
function walk (order: EvictionOrder<Leasable>, goes: readonly boolean[]): { readonly value: Leasable, readonly gone: boolean }[] {
  const met: { value: Leasable, gone: boolean }[] = []
  if (goes.length === 0) return met
  for (const value of order.victims()) {
    const gone = goes[met.length] === true
    if (gone) order.remove(value)
    met.push({ value, gone })
    if (met.length === goes.length) break
  }
  return met
}

/** What every EvictionOrder promises, by itself and under a cache with leases. */
export function evictionOrderContract (name: string, makeOrder: MakeOrder, model?: OrderModel): void {
  test(`${name}: any sequence keeps every value findable, in the order once, and gone when removed`, () => {
    fc.assert(fc.property(fc.array(step, { maxLength: 100, size: 'max' }), steps => {
      const order = makeOrder<Leasable>()
      const present = new Map<string, Leasable>()
      let expected: string[] = []
      const forget = (gone: string): void => {
        present.delete(gone)
        expected = expected.filter(other => other !== gone)
      }
      for (const action of steps) {
        if (action.kind === 'walk') {
          const before = namesOf(order.firstOut())
          const met = walk(order, action.goes)
          const names = met.map(({ value }) => value.id)
          assert.ok(met.every(({ value }) => present.get(value.id) === value))
          assert.deepEqual([names.length, new Set(names).size], [Math.min(before.length, action.goes.length), names.length], 'a walk meets every value, once')
          if (model !== undefined) assert.deepEqual(names, before.slice(0, names.length))
          for (const [n, { value, gone }] of met.entries()) {
            if (gone) forget(value.id)
            // Where a walk stops it says nothing of the value it met last.
            else if (model !== undefined && n < action.goes.length - 1) expected = model.touched(expected, value.id)
          }
        } else if (action.kind === 'touch') {
          assert.equal(order.touch(action.id), present.get(action.id))
          if (model !== undefined && present.has(action.id)) expected = model.touched(expected, action.id)
        } else {
          const old = present.get(action.id)
          if (old !== undefined) {
            order.remove(old)
            forget(action.id)
          }
          if (action.kind === 'admit') {
            const value = makeValue(action.id, action.size)
            order.admit(value)
            present.set(action.id, value)
            if (model !== undefined) expected = model.admitted(expected, action.id)
          }
        }

        const first = namesOf(order.firstOut())
        assert.equal(order.count, present.size)
        for (const each of ids) assert.equal(order.find(each), present.get(each))
        assert.deepEqual(first.toSorted(), Array.from(present.keys()).toSorted())
        assert.deepEqual(namesOf(order.firstOut()), first, 'looking moves nothing')
        if (model !== undefined) assert.deepEqual(first, expected)
      }
    }), { numRuns: 400 })
  })

  test(`${name}: under a cache, whatever is stored, used, read and pinned, the bound holds, no reader loses a value, and nothing pinned is evicted`, () => {
    const action = fc.record({ kind: fc.constantFrom('store' as const, 'get' as const, 'read' as const, 'done' as const, 'purge' as const, 'pin' as const, 'unpin' as const), id, size: fc.integer({ min: 1, max: 60 }), pick: fc.nat(50) })
    fc.assert(fc.property(fc.array(action, { maxLength: 120, size: 'max' }), actions => {
      const freed = new Set<Leasable>()
      const order = makeOrder<Leasable>()
      const cache = new LeasedStore<Leasable>({
        maxBytes: 100,
        order,
        onFree: value => {
          assert.ok(!freed.has(value) && value.leases === 0, 'freed once, and under no reader')
          freed.add(value)
        }
      })
      const readers: Leasable[] = []
      const stored: Leasable[] = []
      for (const { kind, id: name, size, pick } of actions) {
        const pinned = stored.filter(value => value.pinned === true)
        if (kind === 'store') {
          const held = Array.from(new Set([...readers, ...pinned]), value => value.size).reduce((sum, bytes) => sum + bytes, 0)
          const reservation = cache.reserve(size)
          assert.equal(reservation !== undefined, held + size <= 100, 'room is made whenever readers leave it, whatever the order')
          const value = makeValue(name, size)
          if (reservation === undefined) continue
          cache.commit(reservation, value)
          stored.push(value)
        } else if (kind === 'get') {
          assert.equal(cache.get(name), cache.peek(name))
        } else if (kind === 'read') {
          const value = cache.get(name)
          if (value === undefined) continue
          cache.lease(value)
          readers.push(value)
        } else if (kind === 'done') {
          const [value] = readers.splice(pick % Math.max(1, readers.length), 1)
          if (value !== undefined) cache.release(value)
        } else if (kind === 'purge') {
          cache.delete(name, 'purge')
        } else {
          const value = cache.peek(name)
          if (value !== undefined) cache.pin(value, kind === 'pin')
        }

        assert.ok(cache.usedBytes <= 100, `${cache.usedBytes} bytes are used`)
        assert.equal(cache.count, order.count)
        assert.ok(readers.every(value => !freed.has(value)))
        assert.equal(cache.pinnedBytes, stored.reduce((sum, value) => sum + (value.pinned === true ? value.size : 0), 0))
        assert.ok(pinned.every(value => value.indexed || value.id === name))
        assert.ok(Array.from(order.victims()).every(value => value.pinned !== true))
      }
      for (const value of readers) cache.release(value)
      for (const value of stored) cache.pin(value, false)
      cache.resize(0)
      assert.deepEqual([cache.usedBytes, order.count], [0, 0])
      assert.deepEqual(freed, new Set(stored))
    }), { numRuns: 300 })
  })
}
