import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { WriteTurns } from '../../../src/quinn/write-turns.ts'
import { virtualTimers } from '../../fakes/timers.ts'

const MB = 1024 * 1024

test('writes of large streams begin in the order they came, each when the one before is over', () => {
  const turns = new WriteTurns(virtualTimers())
  const begun: string[] = []
  const leave = ['a', 'b', 'c', 'd'].map(name => turns.take(5 * MB, () => { begun.push(name) }))
  assert.deepEqual(begun, ['a'])
  leave[1]?.()
  assert.deepEqual(begun, ['a'], 'one that was given up while it waited')
  leave[0]?.()
  assert.deepEqual(begun, ['a', 'c'])
  leave[2]?.()
  assert.deepEqual(begun, ['a', 'c', 'd'])
  leave[3]?.()
  turns.take(5 * MB, () => { begun.push('e') })
  assert.deepEqual(begun, ['a', 'c', 'd', 'e'])
})

test('a write that takes a second lets the next one pass, and those behind it sooner until it is over', async () => {
  const timers = virtualTimers()
  const turns = new WriteTurns(timers)
  const begun: string[] = []
  const take = (name: string): () => void => turns.take(5 * MB, () => { begun.push(name) })
  const leave = take('unread')
  take('b')
  take('c')
  await timers.pass(999)
  assert.deepEqual(begun, ['unread'])
  await timers.pass(1)
  assert.deepEqual(begun, ['unread', 'b'])
  await timers.pass(100)
  assert.deepEqual(begun, ['unread', 'b', 'c'])
  assert.equal(timers.waiting, 0, 'nobody waits')
  leave()
  take('d')
  await timers.pass(99)
  assert.deepEqual(begun, ['unread', 'b', 'c'])
  await timers.pass(1)
  assert.deepEqual(begun, ['unread', 'b', 'c', 'd'])
})

test('streams that have little together write at the same time, and of many large ones every eighth', () => {
  const turns = new WriteTurns(virtualTimers())
  let begun = 0
  const begin = (): void => { begun++ }
  const small = Array.from({ length: 8 }, () => turns.take(MB / 8, begin))
  assert.equal(begun, 8)
  turns.take(MB / 8, begin)
  assert.equal(begun, 8)
  small[0]?.()
  assert.equal(begun, 9)

  const others = new WriteTurns(virtualTimers())
  begun = 0
  const large = Array.from({ length: 24 }, () => others.take(5 * MB, begin))
  assert.equal(begun, 3)
  for (const leave of large) leave()
  assert.equal(begun, 24)
})

test('whatever is given up or takes long, every other write begins once, in order, and none is forgotten', async () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('take' as const), bytes: fc.integer({ min: 1, max: 6 * MB }) }),
    fc.record({ do: fc.constant('leave' as const), which: fc.nat(30) }),
    fc.record({ do: fc.constant('pass' as const), ms: fc.nat(1_500) })
  )
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 60 }), async steps => {
    const timers = virtualTimers()
    const turns = new WriteTurns(timers)
    const begun: number[] = []
    const leave: Array<() => void> = []
    const left = new Set<number>()
    const givenUp = new Set<number>()
    for (const each of steps) {
      if (each.do === 'take') {
        const name = leave.length
        leave.push(turns.take(each.bytes, () => { begun.push(name) }))
      } else if (each.do === 'pass') {
        await timers.pass(each.ms)
      } else if (each.which < leave.length && !left.has(each.which)) {
        if (!begun.includes(each.which)) givenUp.add(each.which)
        left.add(each.which)
        leave[each.which]?.()
      }
    }
    await timers.pass(1_000 + 100 * leave.length)
    assert.deepEqual(begun, [...leave.keys()].filter(name => !givenUp.has(name)))
    assert.equal(timers.waiting, 0)
  }))
})
