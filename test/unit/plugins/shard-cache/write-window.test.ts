import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { WINDOW_BYTES, WINDOW_CHUNKS, WindowBudget, WriteWindow } from '../../../../src/plugins/shard-cache/write-window.ts'

const chunk = (bytes: number, value = 0): Buffer => Buffer.alloc(bytes, value)

test('a window takes chunks until its bytes or their number are used up, and again when some are written', () => {
  const wide = new WriteWindow(new WindowBudget())
  for (let taken = 0; taken < WINDOW_BYTES; taken += 65_536) assert.equal(wide.push(chunk(65_536)), true)
  assert.equal(wide.push(chunk(1)), false)
  wide.wrote(1)
  assert.equal(wide.push(chunk(65_536)), true)
  assert.equal(wide.bytes, WINDOW_BYTES)
  assert.equal(wide.push(chunk(1)), false)

  const many = new WriteWindow(new WindowBudget())
  for (let taken = 0; taken < WINDOW_CHUNKS; taken++) assert.equal(many.push(chunk(1)), true)
  assert.equal(many.push(chunk(1)), false)
})

test('without any budget a body goes on chunk by chunk, also with one that is larger than a window', () => {
  const window = new WriteWindow(new WindowBudget(0))
  for (const bytes of [10, WINDOW_BYTES + 1, 20]) {
    assert.equal(window.push(chunk(bytes)), true)
    assert.equal(window.push(chunk(1)), false)
    assert.equal(window.bytes, bytes)
    window.wrote(1)
  }
})

test('budgets refuse what they do not have, and what was not taken', () => {
  const budget = new WindowBudget(10)
  assert.deepEqual([budget.take(6), budget.take(5), budget.take(4), budget.taken], [true, false, true, 10])
  budget.giveBack(10)
  assert.throws(() => { budget.giveBack(1) }, /more is given back/)
})

const steps = fc.array(fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('push' as const), body: fc.nat(2), bytes: fc.integer({ min: 1, max: 300_000 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('write' as const), body: fc.nat(2), count: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('clear' as const), body: fc.nat(2) }) }
), { maxLength: 80, size: 'max' })

test('any history of three bodies: unwritten bytes are all here and right, and neither a window nor all of them exceed their bounds', () => {
  fc.assert(fc.property(steps, fc.integer({ min: 0, max: 1_500_000 }), (history, most) => {
    const budget = new WindowBudget(most)
    // A new window begins where its body was when the last one was cleared, so each has its own model.
    const fresh = (): { window: WriteWindow, chunks: Buffer[], written: number } => ({ window: new WriteWindow(budget), chunks: [], written: 0 })
    const bodies = [fresh(), fresh(), fresh()]
    let value = 0
    for (const step of history) {
      const body = bodies[step.body] ?? fresh()
      if (step.kind === 'push') {
        const bytes = chunk(step.bytes, value++ % 256)
        if (body.window.push(bytes)) body.chunks.push(bytes)
        else assert.ok(body.written < body.chunks.length, 'only what waits to be written keeps a chunk out')
      } else if (step.kind === 'write') {
        const count = Math.min(step.count, body.chunks.length - body.written)
        body.window.wrote(count)
        body.written += count
      } else {
        body.window.clear()
        bodies[step.body] = fresh()
      }
      assert.ok(budget.taken <= most)
      for (const { window, chunks, written } of bodies) {
        const waiting = chunks.slice(written)
        assert.deepEqual(window.unwritten().map(one => one.length), waiting.map(one => one.length))
        assert.ok(window.bytes <= Math.max(WINDOW_BYTES, chunks.at(-1)?.length ?? 0))
        const all = Buffer.concat(chunks)
        const start = all.length - window.bytes
        assert.ok(waiting.reduce((sum, { length }) => sum + length, 0) <= window.bytes)
        if (start > 0) assert.equal(window.read(start - 1, 1), undefined)
        assert.equal(window.read(all.length, 1), undefined)
        for (let at = start; at < all.length;) {
          const piece = window.read(at, 100_000)
          assert.ok(piece !== undefined && piece.length > 0 && piece.length <= 100_000)
          assert.ok(all.subarray(at, at + piece.length).equals(piece))
          at += piece.length
        }
      }
    }
    for (const { window } of bodies) window.clear()
    assert.equal(budget.taken, 0)
  }), { numRuns: 60, endOnFailure: true })
})
