import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { RelayError } from '../../../src/base/errors.ts'
import { Places } from '../../../src/base/places.ts'

const MAX_WAITING = 64

const placesOf = (count: number): Places => new Places(count, MAX_WAITING, (taken, waiting) => new RelayError('RELAY_ERR_FILLS_BUSY', `${taken} and ${waiting}`))

suite('places', () => {
  test('no more than there are, no more waiting than may, first come first served, and every place comes back', async () => {
    const places = placesOf(2)
    const { signal } = new AbortController()
    const held = [await places.take(signal), await places.take(signal)]
    const order: number[] = []
    const waiting = Array.from({ length: MAX_WAITING }, async (_, n) => {
      const leave = await places.take(new AbortController().signal)
      order.push(n)
      leave()
      leave()
    })
    assert.deepEqual([places.taken, places.waiting], [2, MAX_WAITING])
    await assert.rejects(places.take(signal), { code: 'RELAY_ERR_FILLS_BUSY' })
    for (const leave of held) leave()
    await Promise.all(waiting)
    assert.deepEqual(order, Array.from({ length: MAX_WAITING }, (_, n) => n))
    assert.deepEqual([places.taken, places.waiting], [0, 0])
  })

  test('who leaves while waiting takes no place', async () => {
    const places = placesOf(1)
    const held = await places.take(new AbortController().signal)
    const leaving = new AbortController()
    const waiting = places.take(leaving.signal)
    const reason = new RelayError('RELAY_ERR_STOPPING', 'the relay is stopping')
    leaving.abort(reason)
    await assert.rejects(waiting, reason)
    await assert.rejects(places.take(leaving.signal), reason)
    held()
    assert.deepEqual([places.taken, places.waiting], [0, 0])
  })

  test('who comes while a place goes from hand to hand gets behind those who wait', async () => {
    const places = placesOf(1)
    const held = await places.take()
    const order: string[] = []
    const taking = async (name: string): Promise<void> => {
      const leave = await places.take()
      order.push(name)
      assert.equal(places.taken, 1)
      leave()
    }
    const first = taking('waited')
    held()
    await Promise.all([first, taking('came')])
    assert.deepEqual([order, places.taken, places.waiting], [['waited', 'came'], 0, 0])
  })
})
