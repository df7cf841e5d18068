import { test } from 'node:test'
import assert from 'node:assert/strict'
import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import { MemoryBudget, type MemoryGrant } from '../../../../src/plugins/shard-cache/memory-budget.ts'

const never = new AbortController().signal

test('claims are granted first come, first served: a small one does not overtake a large one', async () => {
  const budget = new MemoryBudget(100)
  const first = await budget.acquire(80, never)
  const order: string[] = []
  const large = budget.acquire(90, never).then(grant => { order.push('large'); return grant })
  const small = budget.acquire(10, never).then(grant => { order.push('small'); return grant })
  await nextTurn()
  assert.deepEqual(order, [])
  assert.equal(budget.waiting, 2)
  first?.release()
  await large
  await small
  assert.deepEqual(order, ['large', 'small'])
  assert.equal(budget.usedBytes, 100)
})

test('a claim above the whole budget, or one that is aborted already, gets nothing immediately', async () => {
  const budget = new MemoryBudget(100)
  assert.equal(await budget.acquire(101, never), undefined)
  assert.equal(await budget.acquire(1, AbortSignal.abort()), undefined)
  assert.equal(budget.usedBytes, 0)
})

test('a waiter that leaves makes way for those behind it', async () => {
  const budget = new MemoryBudget(100)
  await budget.acquire(60, never)
  const leaving = new AbortController()
  const blocked = budget.acquire(80, leaving.signal)
  const behind = budget.acquire(40, never)
  leaving.abort()
  assert.equal(await blocked, undefined)
  assert.ok(await behind)
  assert.equal(budget.waiting, 0)
})

test('a second release and a late abort change nothing', async () => {
  const budget = new MemoryBudget(100)
  const holder = new AbortController()
  const grant = await budget.acquire(60, holder.signal)
  await budget.acquire(40, never)
  holder.abort()
  assert.equal(budget.usedBytes, 100)
  grant?.release()
  grant?.release()
  assert.equal(budget.usedBytes, 40)
})

test('an exhausted budget serves a queue of thousands in order', async () => {
  const budget = new MemoryBudget(1)
  const served: number[] = []
  await Promise.all(Array.from({ length: 5_000 }, async (_, n) => {
    const grant = await budget.acquire(1, new AbortController().signal)
    served.push(n)
    grant?.release()
  }))
  assert.deepEqual(served, Array.from({ length: 5_000 }, (_, n) => n))
})

test('any interleaving keeps the bound, the order and loses no claim', async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('acquire' as const), bytes: fc.integer({ min: 0, max: 120 }) }),
    fc.record({ kind: fc.constantFrom('release' as const, 'abort' as const), pick: fc.nat(100) })
  )
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), async steps => {
    const budget = new MemoryBudget(100)
    const held: { bytes: number, grant: MemoryGrant }[] = []
    const waiting: { serial: number, bytes: number, abort: AbortController, settled: Promise<void> }[] = []
    const granted: number[] = []
    let serial = 0
    for (const action of steps) {
      if (action.kind === 'acquire') {
        const claim = { serial: serial++, bytes: action.bytes, abort: new AbortController(), settled: Promise.resolve() }
        claim.settled = budget.acquire(claim.bytes, claim.abort.signal).then(grant => {
          waiting.splice(waiting.indexOf(claim), 1)
          assert.ok(grant !== undefined || claim.abort.signal.aborted || claim.bytes > 100)
          if (grant === undefined) return
          held.push({ bytes: claim.bytes, grant })
          granted.push(claim.serial)
        })
        waiting.push(claim)
      } else if (action.kind === 'release') {
        held.splice(action.pick % Math.max(1, held.length), 1)[0]?.grant.release()
      } else {
        waiting[action.pick % Math.max(1, waiting.length)]?.abort.abort()
      }
      assert.ok(budget.usedBytes <= 100)
      await nextTurn()
      assert.equal(budget.usedBytes, held.reduce((total, { bytes }) => total + bytes, 0))
      assert.equal(budget.waiting, waiting.length)
      const first = waiting[0]
      if (first !== undefined) assert.ok(budget.usedBytes + first.bytes > 100, 'nobody waits for memory that is free')
    }
    assert.deepEqual(granted, granted.toSorted((a, b) => a - b))
    const rest = [...waiting]
    for (const { abort } of rest) abort.abort()
    await Promise.all(rest.map(async ({ settled }) => { await settled }))
    for (const { grant } of held) grant.release()
    assert.equal(budget.usedBytes, 0)
  }), { numRuns: 150 })
})
