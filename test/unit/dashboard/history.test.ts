import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { History, MAX_POINTS } from '../../../dashboard/src/model/history.ts'
import { Ring } from '../../../dashboard/src/model/ring.ts'
import { summary } from './summaries.ts'

test('a ring keeps the latest, and what somebody holds of it does not change', () => {
  const ring = new Ring<number>(3)
  ring.push(1, 2)
  const held = ring.items
  ring.push(3, 4, 5, 6)
  assert.deepEqual([held, ring.items, ring.size, ring.last], [[1, 2], [4, 5, 6], 3, 6])
  ring.clear()
  assert.deepEqual([ring.items, ring.last], [[], undefined])
})

/** After so many seconds of a relay that sends 1,000 bytes a second, half of which it must fetch. */
const after = (seconds: number, startedAt = 1_000) => summary({
  startedAt,
  uptimeSeconds: seconds,
  totals: { ...summary().totals, sentBytes: { http: seconds * 1_000 }, receivedBytes: { 'a:9002': seconds * 500 }, hits: { ram: seconds * 3 }, misses: seconds }
})

suite('what was seen of a relay', () => {
  test('rates of the last seconds, and ratios of some more', () => {
    const history = new History()
    for (let second = 0; second <= 20; second++) history.take(after(second), 1e12 + second * 1_000)
    assert.deepEqual([history.now?.seconds, history.now?.sent, history.ofLate?.seconds, history.ofLate?.hitRatio, history.ofLate?.offload], [3, { http: 1_000 }, 15, 0.75, 0.5])
    const { last } = history.points
    assert.deepEqual([last?.http, last?.websocket, last?.received, last?.hitRatio, last?.offload, last?.overWebsocket], [8_000, 0, 4_000, 0.75, 0.5, 3])
    assert.equal(history.points.items[0]?.http, null, 'nothing is known of rates with the first')
  })

  test('a restart breaks every line, and nothing of before counts', () => {
    const history = new History()
    for (let second = 100; second < 105; second++) history.take(after(second), 1e12 + second * 1_000)
    history.take(after(1, 2_000), 1e12 + 105_000)
    const first = history.now
    assert.equal(first, undefined)
    history.take(after(2, 2_000), 1e12 + 106_000)
    assert.deepEqual([history.now?.seconds, history.now?.sent], [1, { http: 1_000 }])
    const [gap, one, two] = history.points.items.slice(-3)
    assert.deepEqual([gap?.overHttp, one?.overHttp, one?.http, two?.http], [null, 1, null, 8_000])
  })

  test('a pause breaks every line, and the rate over it is no rate of now', () => {
    const history = new History()
    history.take(after(10), 1e12)
    history.take(after(11), 1e12 + 1_000)
    history.take(after(100), 1e12 + 90_000)
    assert.equal(history.points.items.at(-2)?.overHttp, null)
    assert.equal(history.now, undefined)
  })

  test('its memory is bounded, and positions ascend though the clock of the machine goes back', () => {
    const history = new History()
    for (let second = 0; second < MAX_POINTS + 100; second++) history.take(after(second), 1e12 + (second < 300 ? second : second - 200) * 1_000)
    assert.equal(history.points.size, MAX_POINTS)
    const { items } = history.points
    for (const [place, { at }] of items.entries()) assert.ok(place === 0 || at > (items[place - 1]?.at ?? 0))
  })
})
