import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { PrioritySlots, Urgency, type ReadPriority, type Slot } from '../../../client/src/priority-slots.ts'
import { settle } from '../../support/viewer-rig.ts'

const never = new AbortController().signal
const PRIORITIES: readonly ReadPriority[] = ['urgent', 'normal', 'background']
const RANK = { urgent: 0, normal: 1, background: 2 } as const

suite('priority slots', () => {
  test('never more holders than places, background ones only by themselves or told to yield, and none is lost to an abort', async () => {
    const step = fc.oneof(fc.record({ take: fc.constantFrom(...PRIORITIES) }), fc.record({ abort: fc.nat(9) }), fc.record({ give: fc.nat(9) }), fc.record({ raise: fc.nat(9) }))
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), async steps => {
      const slots = new PrioritySlots(3)
      interface Held { readonly slot: Slot, readonly urgency: Urgency, yields: boolean }
      const held: Held[] = []
      const waiting: Array<{ readonly abort: AbortController, readonly urgency: Urgency }> = []
      let asked = 0
      const check = (): void => {
        const ranks = held.filter(({ yields }) => !yields).map(({ urgency }) => urgency.rank)
        const others = held.filter(({ urgency }) => urgency.rank < 2).length
        // Those that were held in the background may have risen.
        assert.ok(others <= 3 + 4 + 2, `${others}`)
        assert.ok(slots.held <= 3 + 4 + 2)
        if (others > 0) assert.ok(!ranks.includes(2), 'who is in the background yields')
      }
      for (const one of steps) {
        if ('take' in one) {
          const entry = { abort: new AbortController(), urgency: new Urgency(one.take) }
          asked++
          waiting.push(entry)
          slots.take(entry.urgency, entry.abort.signal).then(slot => {
            if (waiting.includes(entry)) waiting.splice(waiting.indexOf(entry), 1)
            const mine: Held = { slot, urgency: entry.urgency, yields: false }
            held.push(mine)
            slot.onYield(() => { mine.yields = true })
          }, () => {})
        } else if ('abort' in one) {
          const [entry] = waiting.splice(one.abort, 1)
          entry?.abort.abort(new Error('gone'))
        } else if ('give' in one) {
          held.splice(one.give, 1)[0]?.slot.give()
        } else {
          waiting[one.raise]?.urgency.raise('urgent')
          held[one.raise]?.urgency.raise('normal')
        }
        // Half of the steps come while a slot is changing hands.
        if (asked % 2 === 0) {
          await settle()
          check()
        }
      }
      await settle()
      for (let turn = 0; turn < 100 && (held.length > 0 || waiting.length > 0); turn++) {
        await settle()
        check()
        held.shift()?.slot.give()
      }
      await settle()
      assert.deepEqual([held.length, waiting.length, slots.held, slots.waiting], [0, 0, 0, 0])
    }), { numRuns: 60 })
  })

  test('the most urgent first, else in the order of asking; whose priority rises overtakes', async () => {
    const slots = new PrioritySlots(1)
    const order: string[] = []
    const first = await slots.take(new Urgency('normal'), never)
    const raised = new Urgency('background')
    const all = [['a', new Urgency('background')], ['b', new Urgency('normal')], ['c', raised], ['d', new Urgency('normal')]] as const
    const others = all.map(async ([name, urgency]) => {
      const slot = await slots.take(urgency, never)
      order.push(name)
      await settle()
      slot.give()
    })
    raised.raise('urgent')
    raised.raise('background')
    assert.equal(raised.rank, RANK.urgent)
    await settle()
    assert.deepEqual(order, ['c'], 'what is urgent waits for no slot of the others')
    first.give()
    await Promise.all(others)
    assert.deepEqual(order, ['c', 'b', 'd', 'a'])
  })

  test('what is in the background yields to everything else, once, and an abort frees a slot immediately', async () => {
    const slots = new PrioritySlots(16)
    let yields = 0
    const back = await Promise.all([1, 2].map(async () => await slots.take(new Urgency('background'), never)))
    for (const slot of back) slot.onYield(() => { yields++ })
    const third = slots.take(new Urgency('background'), never)
    await settle()
    assert.deepEqual([slots.held, slots.waiting], [2, 1])
    const abort = new AbortController()
    const one = await slots.take(new Urgency('normal'), never)
    const two = slots.take(new Urgency('urgent'), abort.signal)
    await two
    assert.equal(yields, 2)
    for (const slot of back) slot.give()
    await settle()
    assert.equal(slots.waiting, 1)
    one.give()
    ;(await two).give()
    ;(await third).give()
    abort.abort(new Error('late'))
    await assert.rejects(slots.take(new Urgency(), abort.signal), { message: 'late' })
    assert.deepEqual([slots.held, slots.waiting], [0, 0])
  })
})
