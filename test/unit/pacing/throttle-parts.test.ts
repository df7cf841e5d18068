import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Heap, HeapNode } from '../../../src/pacing/heap.ts'
import { RequestQueue } from '../../../src/pacing/request-queue.ts'
import { TokenBucket } from '../../../src/pacing/token-bucket.ts'

const heapSteps = fc.array(fc.record({ kind: fc.constantFrom('push', 'pop', 'remove', 'update', 'rekey'), item: fc.nat(30), key: fc.integer({ min: -20, max: 20 }) }), { maxLength: 200, size: 'max' })

test('heap: after any history the top is a least key, every node knows whether it is held, and all come out in order', () => {
  fc.assert(fc.property(heapSteps, steps => {
    const heap = new Heap<number>()
    const nodes = Array.from({ length: 31 }, (_, item) => new HeapNode(item))
    const model = new Map<number, number>()
    for (const { kind, item, key } of steps) {
      const node = nodes[item]
      assert.ok(node !== undefined)
      const { top } = heap
      if (kind === 'pop' && top !== undefined) {
        heap.remove(top)
        model.delete(top.item)
      } else if (kind === 'push' && !node.held) {
        heap.push(node, key)
        model.set(item, key)
      } else if (kind === 'remove' && node.held) {
        heap.remove(node)
        model.delete(item)
      } else if (kind === 'update' && node.held) {
        heap.update(node, key)
        model.set(item, key)
      } else if (kind === 'rekey') {
        // Plus 0: -0 is another number to assert.
        const turned = (item: number, old: number): number => old * (item % 3 - 1) + 0
        heap.rekey(turned)
        for (const [item, old] of model) model.set(item, turned(item, old))
      }
      assert.equal(heap.size, model.size)
      assert.equal(heap.top?.key ?? Infinity, Math.min(...model.values()))
      for (const other of nodes) {
        assert.equal(other.held, model.has(other.item))
        if (other.held) assert.equal(other.key, model.get(other.item))
      }
    }
    const out: number[] = []
    for (let { top } = heap; top !== undefined; { top } = heap) {
      out.push(top.key)
      heap.remove(top)
    }
    assert.deepEqual(out, [...model.values()].sort((a, b) => a - b))
  }), { numRuns: 500 })
})

test('heap: a node of another heap, or of none, is refused', () => {
  const heap = new Heap<string>()
  const node = new HeapNode('a')
  assert.throws(() => { heap.remove(node) }, /not in this heap/)
  heap.push(node, 1)
  assert.throws(() => { heap.push(node, 1) }, /in a heap already/)
  const other = new Heap<string>()
  assert.throws(() => { other.update(node, 2) }, /not in this heap/)
  assert.equal(heap.top, node)
})

test('request queue: first come, first served, whoever leaves between', () => {
  fc.assert(fc.property(fc.array(fc.record({ add: fc.boolean(), ticket: fc.nat(20) }), { maxLength: 200, size: 'max' }), steps => {
    const queue = new RequestQueue<number>()
    let model: number[] = []
    for (const { add, ticket } of steps) {
      if (add && !model.includes(ticket)) {
        queue.push(ticket, ticket + 1)
        model.push(ticket)
      } else if (add) {
        assert.throws(() => { queue.push(ticket, 1) }, /waits already/)
      } else {
        assert.equal(queue.remove(ticket), model.includes(ticket))
        model = model.filter(other => other !== ticket)
      }
      assert.equal(queue.size, model.length)
      assert.equal(queue.first?.ticket, model[0])
      assert.deepEqual([...queue.tickets()], model)
    }
  }))
})

test('token bucket: it gives what comes in time and its depth at most, and a new rate or depth adds nothing', () => {
  const steps = fc.array(fc.record({ kind: fc.constantFrom('pass', 'spend', 'spend', 'refund', 'configure'), ms: fc.double({ min: 0, max: 100, noNaN: true }), part: fc.double({ min: 0, max: 1, noNaN: true }) }), { maxLength: 100, size: 'max' })
  fc.assert(fc.property(steps, history => {
    let now = 1000
    let rate = 10
    let depth = 500
    let level = depth
    const bucket = new TokenBucket(rate, depth, now)
    for (const { kind, ms, part } of history) {
      if (kind === 'pass') {
        now += ms
        level = Math.min(depth, level + rate * ms)
      } else if (kind === 'spend') {
        const bytes = level * part
        assert.ok(bucket.holdsAt(bytes) <= now + 1e-6)
        bucket.spend(bytes, now)
        level -= bytes
      } else if (kind === 'refund') {
        bucket.refund(50 * part)
        level = Math.min(depth, level + 50 * part)
      } else {
        rate = 1 + 20 * part
        depth = 100 + 10 * ms
        bucket.configure(rate, depth, now)
        level = Math.min(depth, level)
      }
      assert.ok(Math.abs(bucket.level(now) - level) < 1e-3, `${bucket.level(now)} instead of ${level}`)
      const lacks = (depth + level) / 2
      assert.ok(Math.abs(Math.max(now, bucket.holdsAt(lacks)) - now - (lacks - level) / rate) < 1e-3)
    }
  }))
})
